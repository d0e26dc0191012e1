"""What each switch of the robust preset repairs; the paper preset fails the same case."""

import httpx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ireasoner.reward_server.agreement.trajectories import folded
from ireasoner.reward_server.scoring_config import PAPER, ROBUST, ScoringConfig
from tests.examples import examples
from tests.reward_server.requests import rewards, rollout, score_group
from tests.reward_server.vectors import DIMENSION, Doubles, alike, axis, step_rewards

pure = settings(max_examples=examples(150), deadline=None)


def paper_with(**switches: object) -> ScoringConfig:
    return PAPER.model_copy(update=switches)


LEAVE_ONE_OUT = paper_with(step_means="leave_one_out")
STEPS = st.lists(st.integers(0, 2**32 - 1), min_size=0, max_size=6)
GROUPS = st.lists(STEPS, min_size=2, max_size=6)
CONFIGS = st.fixed_dictionaries(
    {
        "step_means": st.sampled_from(["all", "leave_one_out"]),
        "centring": st.sampled_from(["none", "group"]),
        "alignment": st.sampled_from(["index", "monotonic"]),
        "coverage": st.sampled_from(["own", "union"]),
        "cosine_floor": st.sampled_from([-1.0, 0.0, 0.5, 0.99]),
        "min_steps": st.integers(0, 4),
        "min_position_members": st.integers(2, 4),
        "position_decay": st.sampled_from([0.0, 0.15, 1e6]),
    }
).map(lambda switches: PAPER.model_copy(update=switches))


def vectors(seeds: list[int], noise: float = 1.0) -> list[Doubles]:
    """One unit vector per seed; the smaller `noise`, the closer to one direction."""
    found = []
    for seed in seeds:
        drawn = axis(0) + noise * np.random.default_rng(seed).standard_normal(DIMENSION)
        found.append(drawn / np.linalg.norm(drawn))
    return found


# The mean that a step is compared with includes the step itself.


@given(angle=st.floats(0, np.pi))
@pure
def test_leave_one_out_gives_two_steps_their_own_cosine(angle: float) -> None:
    other = np.cos(angle) * axis(0) + np.sin(angle) * axis(1)
    rewarded = step_rewards([[axis(0)], [other]], LEAVE_ONE_OUT)
    assert rewarded == pytest.approx([(1 + np.cos(angle)) / 2] * 2, abs=1e-6)


def test_two_orthogonal_steps_have_cosine_0_not_0_707() -> None:
    pair = [[axis(0)], [axis(1)]]
    assert 2 * step_rewards(pair, PAPER) - 1 == pytest.approx([0.707107] * 2, abs=1e-6)
    assert 2 * step_rewards(pair, LEAVE_ONE_OUT) - 1 == pytest.approx([0, 0], abs=1e-6)
    floored = paper_with(step_means="leave_one_out", cosine_floor=0.0)
    assert step_rewards(pair, floored) == pytest.approx([0, 0], abs=1e-6)


# The reward hardly changes with the agreement.


def rewarded_at(cosine: float, config: ScoringConfig) -> float:
    """The reward of three rollouts of three steps, where steps with the same index have this cosine."""
    columns = [alike(cosine, 3, shared=index, first_own=3 + 3 * index) for index in range(3)]
    return float(step_rewards([list(steps) for steps in zip(*columns, strict=True)], config).mean())


def test_agreement_from_0_80_to_0_99_changes_the_reward() -> None:
    paper = rewarded_at(0.99, PAPER) - rewarded_at(0.80, PAPER)
    robust = rewarded_at(0.99, ROBUST) - rewarded_at(0.80, ROBUST)
    assert paper < 0.04
    assert robust > 0.2
    assert (
        rewarded_at(0.99, paper_with(cosine_floor=0.0)) - rewarded_at(0.8, paper_with(cosine_floor=0.0))
        > paper
    )


@given(low=st.floats(0, 1), high=st.floats(0, 1), config=st.sampled_from([PAPER, ROBUST, LEAVE_ONE_OUT]))
@pure
def test_more_agreement_never_lowers_the_reward(low: float, high: float, config: ScoringConfig) -> None:
    low, high = sorted((low, high))
    assert rewarded_at(high, config) >= rewarded_at(low, config) - 1e-6


@given(seeds=st.lists(STEPS.filter(bool), min_size=3, max_size=5), part=st.floats(0, 1))
@pure
def test_a_step_that_turns_towards_the_others_earns_more(seeds: list[list[int]], part: float) -> None:
    trajectories = [vectors(each) for each in seeds]
    others = np.sum([each[0] for each in trajectories[1:]], axis=0)
    turned = (1 - part) * trajectories[0][0] + part * others / np.linalg.norm(others)
    nearer = [[turned / np.linalg.norm(turned), *trajectories[0][1:]], *trajectories[1:]]
    for config in (PAPER, LEAVE_ONE_OUT):
        assert step_rewards(nearer, config)[0] >= step_rewards(trajectories, config)[0] - 1e-6


# What all steps have in common makes them seem to agree.


def test_centring_removes_what_all_steps_share() -> None:
    def paraphrases(number: int) -> list[Doubles]:
        """Three ways to write one step; by their subject alone, two different steps have cosine 0.81."""
        own = alike(0.9, 3, shared=1 + number, first_own=4 + 3 * number)
        return [0.9 * axis(0) + np.sqrt(1 - 0.81) * each for each in own]

    right = [list(steps) for steps in zip(*map(paraphrases, range(3)), strict=True)]
    shuffled = [right[0], right[1], [right[2][1], right[2][2], right[2][0]]]
    raw = paper_with(step_means="leave_one_out")
    centred = paper_with(step_means="leave_one_out", centring="group")
    assert step_rewards(right, raw)[2] - step_rewards(shuffled, raw)[2] < 0.1
    assert step_rewards(right, centred)[2] - step_rewards(shuffled, centred)[2] > 0.5


# One generic step beats eight real ones, and fewer steps never cost anything.

REAL = [
    [alike(0.75, 5, shared=index, first_own=8 + 5 * (index % 4))[member] for index in range(8)]
    for member in range(5)
]
GENERIC = [[axis(0)] for _ in range(5)]


def test_one_generic_step_does_not_beat_eight_paraphrased_ones() -> None:
    assert step_rewards(GENERIC, PAPER).mean() > step_rewards(REAL, PAPER).mean()
    assert step_rewards(GENERIC, ROBUST).mean() == 0
    assert step_rewards(REAL, ROBUST).mean() > 0.5


def test_too_few_steps_lower_the_reward_in_proportion(compass_http: httpx.Client) -> None:
    texts = [rollout("7", "east", "north", "north")] * 2 + [rollout("7", "east", "south", "west")] * 2
    config = {"min_steps": 3, "gamma": 0}
    plain = rewards(score_group(compass_http, "trajectory", texts, config={"gamma": 0}))
    guarded = rewards(score_group(compass_http, "trajectory", texts, config=config))
    assert guarded == pytest.approx([plain[0] * 2 / 3] * 2 + plain[2:], abs=1e-9)
    assert len(set(folded([("Look.", "Add"), ("look", "add!"), ("look", "add 1")]))) == 2


@given(seeds=st.lists(st.lists(st.integers(0, 99), min_size=2, max_size=6), min_size=3, max_size=5))
@pure
def test_leaving_out_a_step_and_adding_one_that_nobody_has_both_cost(seeds: list[list[int]]) -> None:
    common = [axis(number) for number in range(4)]
    union = paper_with(coverage="union", step_means="leave_one_out", cosine_floor=0.0, alignment="monotonic")
    peers = [list(common) for _ in seeds]
    whole = step_rewards([common, *peers], union)[0]
    less = step_rewards([common[:-1], *peers], union)[0]
    more = step_rewards([[*common, axis(9)], *peers], union)[0]
    assert whole == pytest.approx(1, abs=1e-6)
    assert less < 0.85
    assert more < 0.9
    assert step_rewards([common[:-1], *peers], PAPER)[0] == pytest.approx(1, abs=1e-6)


# Steps are aligned by index alone.


@given(index=st.integers(0, 4), count=st.integers(3, 5))
@pure
def test_an_extra_step_does_not_shift_the_other_comparisons(index: int, count: int) -> None:
    common = [axis(number) for number in range(4)]
    shifted = [*common[:index], axis(9), *common[index:]]
    group_of = [shifted, *[list(common) for _ in range(count)]]
    aligned = paper_with(alignment="monotonic", step_means="leave_one_out")
    assert step_rewards(group_of, aligned) == pytest.approx([1.0] * (count + 1), abs=1e-6)
    if index == 0:
        by_index = step_rewards(group_of, LEAVE_ONE_OUT)
        assert by_index[0] < 0.75
        assert by_index[1:].max() < 0.99


def test_alignment_keeps_the_order_of_steps() -> None:
    common = [axis(number) for number in range(4)]
    aligned = paper_with(alignment="monotonic", coverage="union", cosine_floor=0.0)
    backwards = step_rewards([common[::-1], *[list(common)] * 4], aligned)
    assert backwards[0] < 0.4
    assert backwards[1:].min() > 0.9


def test_the_response_has_the_slot_of_each_step(compass_http: httpx.Client) -> None:
    texts = [
        rollout("7", "west", "east", "north"),
        rollout("7", "east", "north"),
        rollout("7", "east", "north"),
    ]
    scored = score_group(compass_http, "trajectory", texts, config={"alignment": "monotonic"})
    slots = [[step["place"] for step in each["steps"]] for each in scored["rollouts"]]
    assert slots == [[None, 0, 1], [0, 1], [0, 1]]
    assert [step["cosine"] for step in scored["rollouts"][0]["steps"]] == [None, *[pytest.approx(1.0)] * 2]


# Ties go to whichever answer came first.


def test_tied_answers_share_the_step_reward(compass_http: httpx.Client) -> None:
    texts = [rollout("7", "east")] * 2 + [rollout("8", "north")] * 2 + [rollout("9", "east")]
    one = rewards(score_group(compass_http, "trajectory", texts))
    shared = rewards(score_group(compass_http, "trajectory", texts, config={"ties": "shared"}))
    whole = 0.4**0.7
    assert sorted(one) == pytest.approx([0, 0, 0, whole, whole], abs=1e-6)
    assert shared == pytest.approx([whole / 2] * 4 + [0], abs=1e-6)
    assert sum(shared) == pytest.approx(sum(one), abs=1e-6)


# The entropy target is for groups of five.


@given(size=st.integers(2, 32), answers=st.lists(st.integers(0, 3), min_size=5, max_size=5))
@settings(max_examples=examples(40), deadline=None)
def test_the_scaled_entropy_target_gives_every_group_size_the_same_reward(
    compass_http: httpx.Client, size: int, answers: list[int]
) -> None:
    def proposed(texts: list[str], scale: str) -> float:
        config = {"entropy_scale": scale}
        return float(score_group(compass_http, "proposer", texts, config=config)["proposer_reward"])

    five = [rollout(str(answer)) for answer in answers]
    assert proposed(five, "ln_n") == pytest.approx(proposed(five, "nats"), abs=1e-9)
    different = [rollout(str(number)) for number in range(size)]
    assert proposed(different, "ln_n") == pytest.approx(0.128183, abs=1e-6)
    assert proposed([rollout("7")] * size, "ln_n") == pytest.approx(0.036658, abs=1e-6)


def test_for_a_large_group_the_unscaled_target_demands_near_consensus(compass_http: httpx.Client) -> None:
    mixed = [rollout(str(number // 4)) for number in range(64)]  # 16 answers, each given 4 times: H = 2 ln 4
    plain = score_group(compass_http, "proposer", mixed)["proposer_reward"]
    scaled = score_group(compass_http, "proposer", mixed, config={"entropy_scale": "ln_n"})["proposer_reward"]
    assert plain < 0.001
    assert scaled > 0.8


# Copies are weaker evidence than independent ways to one answer.


def test_a_consensus_of_copies_can_count_less(compass_http: httpx.Client) -> None:
    copies = [rollout("7", "east")] * 3 + [rollout("8", "west")]
    ways = [rollout("7", "east"), rollout("7", "north"), rollout("7", "northeast"), rollout("8", "west")]
    config = {"distinct_exponent": 1.0, "alpha": 1.0}
    assert rewards(score_group(compass_http, "outcome", copies, config={"alpha": 1.0}))[0] == 0.75
    assert rewards(score_group(compass_http, "outcome", copies, config=config)) == [0.25] * 4
    assert rewards(score_group(compass_http, "outcome", ways, config=config)) == [0.75] * 3 + [0.25]


def test_an_answer_in_many_ways_can_dominate_one_with_more_votes_in_copies(
    compass_http: httpx.Client,
) -> None:
    texts = [*[rollout("7", "east")] * 5, *[rollout("8", way) for way in ("west", "south", "southwest east")]]
    assert score_group(compass_http, "solver", texts)["dominant_answer"] == "7"
    scored = score_group(compass_http, "solver", texts, config={"distinct_exponent": 0.75})
    assert (scored["dominant_answer"], scored["dominant_share"]) == ("8", 0.375)
    assert [reward > 0 for reward in rewards(scored, "trajectory")] == [False] * 5 + [True] * 3
    halved = [*[rollout("7", "east")] * 4, rollout("8", "west"), rollout("8", "south")]
    tied = score_group(
        compass_http, "trajectory", halved, config={"distinct_exponent": 0.5, "ties": "shared"}
    )
    assert tied["tie"], "4 copies count as 4 / sqrt(4) = 2, and 2 rollouts that differ as 2"
    assert all(reward > 0 for reward in rewards(tied))


@given(ties=st.sampled_from([{"ties": "shared"}, {"ties": "one"}]), order=st.permutations(["7", "8"]))
@settings(max_examples=10, deadline=None)
def test_of_equally_strong_answers_the_one_with_more_votes_dominates(
    compass_http: httpx.Client, ties: dict[str, str], order: list[str]
) -> None:
    copied, varied = order
    texts = [*[rollout(copied, "east")] * 4, rollout(varied, "west"), rollout(varied, "south")]
    config = {"distinct_exponent": 0.5, "min_dominant_share": 0.5, **ties}
    scored = score_group(compass_http, "outcome", texts, config=config)
    assert (scored["dominant_answer"], scored["dominant_share"], scored["tie"]) == (copied, 4 / 6, True)
    assert rewards(scored) == pytest.approx([(1 / 3) ** 0.7] * 6)


def test_a_group_without_answers_has_no_consensus_and_no_error(compass_http: httpx.Client) -> None:
    config = {"distinct_exponent": 0.75, "min_dominant_share": 0.5, "ties": "shared"}
    scored = score_group(compass_http, "solver", [rollout(None, "east")] * 3, config=config)
    assert (scored["status"], scored["dominant_share"], scored["density"]) == ("invalid", 0.0, 0.0)
    assert rewards(scored) == [0.0] * 3


# A small majority is often wrong.


@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver"])
def test_a_group_without_consensus_earns_nothing(compass_http: httpx.Client, endpoint: str) -> None:
    few = [rollout("7", "east"), rollout("7", "east"), rollout("8"), rollout("9"), rollout("10")]
    enough = [rollout("7", "east"), *few[:4]]
    config = {"min_dominant_share": 0.6}
    assert rewards(score_group(compass_http, endpoint, few))[0] > 0
    scored = score_group(compass_http, endpoint, few, config=config)
    assert rewards(scored) == [0.0] * 5
    assert scored["density"] == 0
    assert scored["proposer_reward"] == score_group(compass_http, endpoint, few)["proposer_reward"]
    confident = score_group(compass_http, endpoint, enough, config=config)
    assert confident == score_group(compass_http, endpoint, enough)


# Laws that hold for every combination of switches.


@given(seeds=GROUPS, config=CONFIGS, noise=st.sampled_from([0.0, 0.1, 1.0]), data=st.data())
@pure
def test_bounds_and_permutations(
    seeds: list[list[int]], config: ScoringConfig, noise: float, data: st.DataObject
) -> None:
    trajectories = [vectors(each, noise) for each in seeds]
    rewarded = step_rewards(trajectories, config)
    assert np.isfinite(rewarded).all()
    assert (rewarded >= 0).all()
    assert (rewarded <= 1 + 1e-9).all()
    order = data.draw(st.permutations(range(len(seeds))))
    assert (step_rewards([trajectories[index] for index in order], config) == rewarded[order]).all()


@given(seeds=GROUPS, config=CONFIGS, noise=st.sampled_from([0.0, 0.1, 1.0]))
@example(
    seeds=[[1, 0, 0, 144832316], [4096], [144832316], [], []],
    config=paper_with(alignment="monotonic", min_position_members=3, position_decay=0.0),
    noise=0.1,
)
@pure
def test_copies_of_one_rollout_get_equal_rewards(
    seeds: list[list[int]], config: ScoringConfig, noise: float
) -> None:
    trajectories = [vectors(each, noise) for each in [seeds[0], *seeds]]
    rewarded = step_rewards(trajectories, config)
    assert rewarded[0] == rewarded[1]


@given(seeds=GROUPS, config=CONFIGS)
@pure
def test_doubling_a_group_changes_nothing_if_the_mean_includes_the_step(
    seeds: list[list[int]], config: ScoringConfig
) -> None:
    config = config.model_copy(update={"step_means": "all", "coverage": "own", "alignment": "index"})
    once = [vectors(each) for each in seeds]
    more_members = config.model_copy(update={"min_position_members": 2 * config.min_position_members})
    assert step_rewards(once * 2, more_members) == pytest.approx(
        np.tile(step_rewards(once, config), 2), abs=1e-6
    )
