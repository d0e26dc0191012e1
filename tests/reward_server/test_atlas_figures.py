"""The figures of an atlas, by hand."""

import numpy as np
import pytest

from ireasoner.reward_server.commands.atlas_figures import (
    LEAST_PAIRED,
    differences,
    label_is_true,
    right_above_wrong,
    share,
)

NONE = float("nan")


@pytest.mark.parametrize(
    ("rewards", "right", "above", "label"),
    [
        ([1, 0], [1, 0], 1.0, 1.0),
        ([0, 1], [1, 0], 0.0, 0.0),
        ([1, 1], [1, 0], 0.5, 0.5),
        ([3, 2, 1, 0], [1, 0, 1, 0], 0.75, 1.0),
        ([0.6, 0.6, 0.6, 0.4, 0.4], [0, 0, 0, 1, 1], 0.0, 0.0),
        ([1, 1, 1, 0], [1, 1, 0, 0], 0.75, 2 / 3),  # a tie for the best pay counts in part
        ([1, 1, 1], [1, 1, 1], None, 1.0),  # nothing to rank, and a label
        ([0, 0], [0, 0], None, 0.0),
        ([-0.2, -0.5], [1, 0], 1.0, 1.0),  # rewards can be negative
        ([NONE, 0.5, 0.1], [1, 0, 1], 0.0, 0.0),  # the unpaid one does not count
        ([NONE, 0.5], [1, 0], None, 0.0),
        ([NONE, NONE], [1, 0], None, None),
    ],
)
def test_a_group(rewards: list[float], right: list[int], above: float | None, label: float | None) -> None:
    paid, truth = np.array(rewards, np.float64), np.array(right, np.bool_)
    assert right_above_wrong(paid, truth) == pytest.approx(above)
    assert label_is_true(paid, truth) == pytest.approx(label)
    order = np.random.default_rng(0).permutation(len(rewards))
    assert right_above_wrong(paid[order], truth[order]) == pytest.approx(above)
    assert label_is_true(paid[order], truth[order]) == pytest.approx(label)


@pytest.mark.parametrize(
    ("values", "mean", "low", "high"),
    [
        ([1.0] * 10, 1.0, 0.7225, 1.0),  # Wilson's interval has a width even here
        ([0.0] * 10, 0.0, 0.0, 0.2775),
        ([1.0, 0.0] * 50, 0.5, 0.4038, 0.5962),
        ([None, 1.0, None, 0.5], 0.75, 0.1979, 0.9733),
    ],
)
def test_a_share_has_wilson_s_interval(
    values: list[float | None], mean: float, low: float, high: float
) -> None:
    found = share(values)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, low, high), abs=1e-4)
    assert found.groups == sum(value is not None for value in values)


def test_without_groups_there_is_no_share() -> None:
    found = share([None, None])
    assert (found.mean, found.low, found.high, found.groups) == (None, None, None, 0)


def test_wilson_s_interval_holds_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        found = share(list(rng.beta(4, 1, 100)))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.8 <= found.high
    assert held >= 0.95 * 2000


def test_a_difference_is_paired_and_corrected_for_the_number_of_methods() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    values: dict[str, list[float | None]] = {
        "vote": list(hard),
        "better": list(hard + 0.1 + rng.normal(0, 0.05, 200)),
        "same": list(hard),
        "noise": list(hard + rng.normal(0, 0.2, 200)),
        "absent": [None] * 200,
    }
    found = differences(values, "vote")
    assert set(found) == {"better", "same", "noise"}
    better = found["better"]
    assert better.low is not None
    assert better.low > 0.08
    assert better.p_holm is not None
    assert better.p_holm < 0.001
    assert (found["same"].mean, found["same"].p, found["same"].p_holm) == (0.0, 1.0, 1.0)
    noise = found["noise"]
    assert noise.p is not None
    assert noise.p_holm == pytest.approx(min(1.0, 2 * noise.p)), "the second of three"


def test_few_groups_give_a_difference_without_an_interval() -> None:
    few: list[float | None] = [1.0, 0.0] * (LEAST_PAIRED // 2 - 1)
    [found] = differences({"vote": [0.5] * len(few), "other": few}, "vote").values()
    assert (found.mean, found.low, found.high, found.p, found.p_holm) == (0.0, None, None, None, None)
    assert found.groups == len(few)


def test_groups_that_only_one_method_scores_are_left_out_of_their_difference() -> None:
    found = differences({"vote": [1.0, None, 0.0], "other": [0.5, 1.0, None]}, "vote")
    assert (found["other"].mean, found["other"].groups) == (-0.5, 1)
