"""Whose steps are compared: those of the dominant answer's rollouts, or of all with an answer. Worked by hand."""

from itertools import permutations
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.agreement import formulas
from ireasoner.reward_server.scoring_config import PAPER
from tests.reward_server.requests import group, rewards, rollout, score, score_group

GROUP = {"step_scope": "group"}
TEXTS = [rollout("7", "east"), rollout("7", "north"), rollout("8", "east"), rollout(None, "east")]

# Of east, north, east the mean has the direction (2, 1) / sqrt 5: cosines 2 / sqrt 5, 1 / sqrt 5, credits (1 + c) / 2.
OF_THREE = [0.947214, 0.723607, 0.947214]
# Of east and north it is (1, 1) / sqrt 2: cosines 0.707107.
OF_TWO = [0.853553, 0.853553]
# Densities: (3 / 4)^0.7 for the three of four rollouts with an answer, (2 / 4)^0.7 for the two sevens.
DENSITY_OF_THREE, DENSITY_OF_TWO = 0.817604, 0.615572


def test_with_group_all_rollouts_with_an_answer_are_compared_and_paid(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "trajectory", TEXTS, config=GROUP)
    assert rewards(scored) == pytest.approx([DENSITY_OF_THREE * r for r in OF_THREE] + [0.0], abs=1e-5)
    assert scored["density"] == pytest.approx(DENSITY_OF_THREE, abs=1e-5)
    assert (scored["dominant_answer"], scored["dominant_share"]) == ("7", 0.5), "the votes are what they were"


def test_with_answer_only_the_majority_is_as_before(compass_http: httpx.Client) -> None:
    expected = [*(DENSITY_OF_TWO * r for r in OF_TWO), 0.0, 0.0]
    for config in ({}, {"step_scope": "answer"}):
        scored = score_group(compass_http, "trajectory", TEXTS, config=config)
        assert rewards(scored) == pytest.approx(expected, abs=1e-5)
        assert scored["density"] == pytest.approx(DENSITY_OF_TWO, abs=1e-5)


def test_the_solver_gets_the_mix_of_both_rewards(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "solver", TEXTS, config=GROUP, progress=1.0)
    outcomes = [0.5**0.7, 0.5**0.7, 0.25**0.7, 0.0]
    steps = [DENSITY_OF_THREE * r for r in OF_THREE] + [0.0]
    mixed = [0.3 * outcome + 0.7 * step for outcome, step in zip(outcomes, steps, strict=True)]
    assert rewards(scored) == pytest.approx(mixed, abs=1e-5)


@pytest.mark.parametrize("config", [{"ties": "one"}, {"ties": "shared"}, {"distinct_exponent": 0.75}])
def test_ties_and_copies_do_not_matter_to_the_step_reward_of_a_group(
    compass_http: httpx.Client, config: dict[str, Any]
) -> None:
    tied = [rollout("7", "east"), rollout("7", "east"), rollout("8", "north"), rollout("8", "east")]
    scored = score_group(compass_http, "trajectory", tied, config=GROUP | config)
    # The mean has the direction (3, 1) / sqrt 10; all four have an answer, so the density is 1.
    assert rewards(scored) == pytest.approx([0.974342, 0.974342, 0.658114, 0.974342], abs=1e-5)


def test_answers_of_one_value_are_one_answer_of_the_group(compass_http: httpx.Client) -> None:
    """Each is written in another way, so none has a name of its own among the clusters."""
    texts = [rollout("1/2", "east"), rollout("0.5", "north"), rollout("0.50", "east"), rollout(None, "east")]
    scored = score_group(compass_http, "trajectory", texts, config=GROUP | {"equivalence": "value"})
    assert rewards(scored) == pytest.approx([DENSITY_OF_THREE * r for r in OF_THREE] + [0.0], abs=1e-5)
    assert scored["dominant_share"] == 0.75


def test_whoever_votes_the_steps_of_the_group_itself_are_compared(compass_http: httpx.Client) -> None:
    own = group(TEXTS)
    others = group([rollout("8", "south")] * 4, "others")
    for each, view in zip(own["rollouts"], "abab", strict=True):
        each["view"] = view
    for config, groups in (
        ({"votes": "cross"}, [own]),
        ({"votes": "voters"}, [own | {"voters": "others"}, others]),
    ):
        scored = score(compass_http, "trajectory", *groups, config=GROUP | config)["groups"][0]
        assert rewards(scored) == pytest.approx([DENSITY_OF_THREE * r for r in OF_THREE] + [0.0], abs=1e-5), (
            config
        )


@pytest.mark.parametrize(
    ("texts", "config"),
    [
        ([rollout("7", "east"), rollout(None, "east")], {}),
        (TEXTS, {"min_dominant_share": 0.6}),
        (TEXTS, {"min_position_members": 4}),
        ([rollout(None, "east")] * 3, {}),
    ],
    ids=["a single answer", "no consensus", "too few with an answer", "no answer"],
)
def test_without_enough_rollouts_or_consensus_nobody_is_paid(
    compass_http: httpx.Client, texts: list[str], config: dict[str, Any]
) -> None:
    scored = score_group(compass_http, "trajectory", texts, config=GROUP | config)
    assert rewards(scored) == [0.0] * len(texts)


def test_the_order_of_rollouts_does_not_matter(compass_http: httpx.Client) -> None:
    expected = dict(
        zip(TEXTS, rewards(score_group(compass_http, "solver", TEXTS, config=GROUP)), strict=True)
    )
    for order in permutations(TEXTS):
        scored = score_group(compass_http, "solver", order, config=GROUP)
        assert dict(zip(order, rewards(scored), strict=True)) == expected


def test_the_details_show_the_steps_that_were_compared(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "trajectory", TEXTS, config=GROUP, detail="full")
    cosines = [rollout["steps"][0]["cosine"] for rollout in scored["rollouts"]]
    assert cosines[:3] == pytest.approx([2 / 5**0.5, 1 / 5**0.5, 2 / 5**0.5], abs=1e-6)
    assert cosines[3] is None


def test_the_densities_of_this_page_are_those_of_the_formula() -> None:
    assert [formulas.density(share, PAPER) for share in (0.75, 0.5)] == pytest.approx(
        [DENSITY_OF_THREE, DENSITY_OF_TWO], abs=1e-5
    )
