"""What holds of any request: order, echoes, bounds, and that a group's scores depend on that group alone."""

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reward_server.compass import POINTS
from tests.reward_server.requests import Json, group, rewards, rollout, score, score_group

STEPS = st.lists(st.sampled_from([point for point in POINTS if point != "nowhere"]), max_size=4)
TEXTS = st.lists(
    st.builds(lambda answer, steps: rollout(answer, *steps), st.sampled_from(["7", "8", "9", None]), STEPS),
    min_size=1,
    max_size=7,
)
TOLERANCE = 1e-12
http_examples = settings(max_examples=60, deadline=None)


@http_examples
@given(texts=TEXTS, data=st.data())
def test_the_order_of_rollouts_does_not_matter(
    compass_http: httpx.Client, texts: list[str], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(texts))))
    plain = score_group(compass_http, "solver", texts)
    shuffled = score_group(compass_http, "solver", [texts[index] for index in order])
    for name in ("dominant_answer", "tie", "clusters", "entropy_nats", "proposer_reward", "density"):
        assert shuffled[name] == plain[name]
    for place, index in enumerate(order):
        assert abs(rewards(shuffled)[place] - rewards(plain)[index]) < TOLERANCE


@http_examples
@given(groups=st.lists(TEXTS, min_size=1, max_size=5))
def test_many_groups_score_as_each_alone(compass_http: httpx.Client, groups: list[list[str]]) -> None:
    together = score(compass_http, "solver", *[group(texts, f"g{i}") for i, texts in enumerate(groups)])
    alone = [score(compass_http, "solver", group(texts, f"g{i}")) for i, texts in enumerate(groups)]
    assert together["groups"] == [answer["groups"][0] for answer in alone]
    assert {answer["fingerprint"] for answer in alone} == {together["fingerprint"]}


@http_examples
@given(texts=TEXTS)
def test_rewards_are_in_the_unit_interval(compass_http: httpx.Client, texts: list[str]) -> None:
    for endpoint in ("outcome", "trajectory", "solver"):
        scored = score_group(compass_http, endpoint, texts)
        assert all(0 <= reward <= 1 + TOLERANCE for reward in rewards(scored))
        assert 0 <= scored["proposer_reward"] <= 1


def test_order_is_kept_and_ids_are_echoed(compass_http: httpx.Client) -> None:
    groups: list[Json] = [
        {"id": name, "rollouts": [{"id": f"{name}{i}", "text": rollout("7", "east")} for i in order]}
        for name, order in (("z", [3, 1, 2]), ("a", [9]), ("z", [0, 0]))
    ]
    scored = score(compass_http, "solver", *groups)["groups"]
    assert [each["id"] for each in scored] == ["z", "a", "z"]
    ids = [[each["id"] for each in group["rollouts"]] for group in scored]
    assert ids == [
        ["z3", "z1", "z2"],
        ["a9"],
        ["z0", "z0"],
    ]


def test_a_tie_does_not_go_to_the_first(compass_http: httpx.Client) -> None:
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


def test_detail_rewards_leaves_out_steps_and_clusters_only(compass_http: httpx.Client) -> None:
    texts = [rollout("7", "east"), rollout("8")]
    full = score_group(compass_http, "solver", texts)
    short = score_group(compass_http, "solver", texts, detail="rewards")
    assert "clusters" not in short
    assert all("steps" not in each for each in short["rollouts"])
    del full["clusters"]
    for each in full["rollouts"]:
        del each["steps"]
    assert short == full


def test_the_fingerprint_tells_configs_apart_and_nothing_else(compass_http: httpx.Client) -> None:
    def of(config: object, texts: list[str]) -> str:
        return str(score(compass_http, "outcome", group(texts), config=config)["fingerprint"])

    paper = of("paper", ["a"])
    assert of({"preset": "paper", "alpha": 0.7}, ["b", "c"]) == of({}, ["a"]) == paper
    assert of({"alpha": 0.71}, ["a"]) != paper
