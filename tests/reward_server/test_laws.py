"""Laws of any request: order, echoed ids, bounds, and that a group's scores depend on that group alone."""

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.reward_server.compass import POINTS
from tests.reward_server.requests import Json, group, rewards, rollout, score, score_group

STEPS = st.lists(st.sampled_from([point for point in POINTS if point != "nowhere"]), max_size=4)
ANSWERS = st.sampled_from(
    ["7", "8", "9", None, "x = 7", "y = 7", "A. Lincoln", "A", "(B)", "x + y = 7", "8, 7", "7; 8"]
)
TEXTS = st.lists(
    st.builds(lambda answer, steps: rollout(answer, *steps), ANSWERS, STEPS),
    min_size=1,
    max_size=7,
)
TOLERANCE = 1e-12
http_examples = settings(max_examples=examples(50), deadline=None)
OVERRIDES = {"preset": "robust", "centring": "none", "distinct_exponent": 0.5}
PRESETS = st.sampled_from(["paper", "robust"])
CONFIGS = st.one_of(PRESETS, st.just(OVERRIDES))


@http_examples
@given(texts=TEXTS, config=CONFIGS, data=st.data())
def test_the_order_of_rollouts_does_not_matter(
    compass_http: httpx.Client, texts: list[str], config: object, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(texts))))
    plain = score_group(compass_http, "solver", texts, config=config)
    shuffled = score_group(compass_http, "solver", [texts[index] for index in order], config=config)
    for name in ("dominant_answer", "tie", "clusters", "entropy_nats", "proposer_reward", "density"):
        assert shuffled[name] == plain[name]
    for position, index in enumerate(order):
        assert abs(rewards(shuffled)[position] - rewards(plain)[index]) < TOLERANCE


@http_examples
@given(groups=st.lists(TEXTS, min_size=1, max_size=5), preset=PRESETS)
def test_each_of_many_groups_scores_as_it_does_alone(
    compass_http: httpx.Client, groups: list[list[str]], preset: str
) -> None:
    named = [group(texts, f"g{i}") for i, texts in enumerate(groups)]
    together = score(compass_http, "solver", *named, config=preset)
    alone = [score(compass_http, "solver", each, config=preset) for each in named]
    assert together["groups"] == [answer["groups"][0] for answer in alone]
    assert {answer["fingerprint"] for answer in alone} == {together["fingerprint"]}


@http_examples
@given(groups=st.lists(TEXTS, min_size=1, max_size=5), config=CONFIGS, data=st.data())
def test_the_order_of_groups_does_not_matter(
    compass_http: httpx.Client, groups: list[list[str]], config: object, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(groups))))
    named = [group(texts, str(i)) for i, texts in enumerate(groups)]
    plain = score(compass_http, "solver", *named, config=config)["groups"]
    shuffled = score(compass_http, "solver", *[named[index] for index in order], config=config)["groups"]
    for position, index in enumerate(order):
        for one, other in zip(rewards(shuffled[position]), rewards(plain[index]), strict=True):
            assert abs(one - other) < TOLERANCE


@http_examples
@given(texts=TEXTS, config=CONFIGS)
def test_rewards_are_in_the_unit_interval(
    compass_http: httpx.Client, texts: list[str], config: object
) -> None:
    for endpoint in ("outcome", "trajectory", "solver"):
        scored = score_group(compass_http, endpoint, texts, config=config)
        assert all(0 <= reward <= 1 + TOLERANCE for reward in rewards(scored))
        assert 0 <= scored["proposer_reward"] <= 1


@http_examples
@given(texts=TEXTS, preset=PRESETS)
def test_equal_rollouts_get_equal_rewards(compass_http: httpx.Client, texts: list[str], preset: str) -> None:
    scored = rewards(score_group(compass_http, "solver", [texts[0], *texts], config=preset))
    assert abs(scored[0] - scored[1]) < TOLERANCE


@http_examples
@given(texts=TEXTS)
def test_a_group_given_twice_over_has_the_same_rewards(compass_http: httpx.Client, texts: list[str]) -> None:
    """Ties are shared, since the choice among tied answers depends on the number of votes."""
    doubled = {"min_position_members": 4, "ties": "shared"}
    once = rewards(score_group(compass_http, "solver", texts, config={"ties": "shared"}))
    twice = rewards(score_group(compass_http, "solver", texts * 2, config=doubled))
    assert all(abs(one - other) < TOLERANCE for one, other in zip(once * 2, twice, strict=True))


@pytest.mark.parametrize("preset", ["paper", "robust"])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_one_more_vote_for_an_answer_raises_its_outcome(
    compass_http: httpx.Client, preset: str, size: int
) -> None:
    groups = [
        group([rollout("7" if i < votes else "8") for i in range(size)], f"{votes} votes")
        for votes in range(1, size + 1)
    ]
    scored = score(compass_http, "outcome", *groups, config=preset)["groups"]
    of_seven = [rewards(each)[0] for each in scored]
    assert of_seven == sorted(set(of_seven))


def test_order_is_kept_and_ids_are_echoed(compass_http: httpx.Client) -> None:
    groups: list[Json] = [
        {"id": name, "rollouts": [{"id": f"{name}{i}", "text": rollout("7", "east")} for i in order]}
        for name, order in (("z", [3, 1, 2]), ("a", [9]), ("k", [1, 0]))
    ]
    scored = score(compass_http, "solver", *groups)["groups"]
    assert [each["id"] for each in scored] == ["z", "a", "k"]
    ids = [[each["id"] for each in group["rollouts"]] for group in scored]
    assert ids == [
        ["z3", "z1", "z2"],
        ["a9"],
        ["k1", "k0"],
    ]


def test_a_tie_does_not_go_to_the_first_answer(compass_http: httpx.Client) -> None:
    winners = set()
    for first, second in (("7", "8"), ("8", "7")):
        scored = score_group(compass_http, "outcome", [rollout(first), rollout(second)])
        assert scored["tie"] is True
        winners.add(scored["dominant_answer"])
    assert len(winners) == 1


def test_the_rule_for_ties_favours_neither_the_smaller_nor_the_larger(compass_http: httpx.Client) -> None:
    pairs = [group([rollout(str(n)), rollout(str(n + 1))], str(n)) for n in range(200)]
    scored = score(compass_http, "outcome", *pairs)["groups"]
    smaller = sum(each["dominant_answer"] == each["id"] for each in scored)
    assert 70 <= smaller <= 130


def test_detail_rewards_omits_steps_and_clusters_only(compass_http: httpx.Client) -> None:
    texts = [rollout("7", "east"), rollout("8")]
    full = score_group(compass_http, "solver", texts)
    short = score_group(compass_http, "solver", texts, detail="rewards")
    assert "clusters" not in short
    assert all("steps" not in each for each in short["rollouts"])
    del full["clusters"]
    for each in full["rollouts"]:
        del each["steps"]
    assert short == full


def test_the_fingerprint_distinguishes_configs_and_nothing_else(compass_http: httpx.Client) -> None:
    def of(config: object, texts: list[str]) -> str:
        return str(score(compass_http, "outcome", group(texts), config=config)["fingerprint"])

    paper = of("paper", ["a"])
    assert of({"preset": "paper", "alpha": 0.7}, ["b", "c"]) == of({}, ["a"]) == paper
    assert of({"alpha": 0.71}, ["a"]) != paper
