"""The intervals: against textbook values, against each other, and how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from replication.intervals import (
    LEAST_SEEDS,
    Estimate,
    across_questions,
    across_seeds,
    holm,
    interval,
    widened,
)


@pytest.mark.parametrize("seeds", range(1, LEAST_SEEDS))
def test_below_five_seeds_there_is_no_interval(seeds: int) -> None:
    values = np.random.default_rng(0).normal(size=(seeds, 40))
    assert across_seeds(values) == Estimate(float(values.mean()))


def test_a_figure_of_a_run_has_the_t_interval_over_seeds() -> None:
    values = [0.1, 0.2, 0.3, 0.2, 0.4]
    found = across_seeds(np.array(values)[:, None])
    expected = stats.ttest_1samp(values, 0.0)
    low, high = expected.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))


def test_one_model_has_the_t_interval_over_its_questions_however_often_it_was_sampled() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((1, 60))
    found = across_questions(values)
    expected = stats.ttest_1samp(values[0], 0.0)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert ends(across_questions(np.repeat(values, 5, axis=0))) == pytest.approx(ends(found))


@pytest.mark.parametrize(("of_seeds", "of_questions"), [(0.2, 0.0), (0.0, 0.5), (0.2, 0.5)])
def test_the_width_combines_the_variances_of_seeds_and_questions(
    of_seeds: float, of_questions: float
) -> None:
    rng = np.random.default_rng(0)
    seeds, questions = rng.normal(0, of_seeds, (40, 1)), rng.normal(0, of_questions, (1, 400))
    found = across_seeds(seeds + questions)
    assert found.low is not None
    assert found.high is not None
    expected = np.sqrt(seeds.var() / 40 + questions.var() / 400)
    assert (found.high - found.low) / 2 == pytest.approx(1.97 * expected, rel=0.05)


def test_noise_of_single_answers_is_not_counted_twice() -> None:
    """Rows and columns both contain it; the bootstrap over both counts it three times."""
    rng = np.random.default_rng(0)
    found = across_seeds(rng.normal(0, 1, (8, 300)))
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / np.sqrt(8 * 300), rel=0.3)


def test_pairing_removes_what_two_arms_share() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random((1, 300)) < 0.5
    ours, theirs = (np.where(hard, rng.random((5, 300)) < share, 1.0) for share in (0.3, 0.1))
    paired, alone = across_seeds(ours - theirs), across_seeds(ours)
    assert paired.mean == pytest.approx(ours.mean() - theirs.mean())
    assert paired.low is not None
    assert paired.low > 0
    assert width(paired) < width(alone)


@pytest.mark.parametrize("seeds", [5, 8])
def test_questions_of_one_cluster_count_as_one(seeds: int) -> None:
    """Ten questions that are right or wrong together carry no more information than one."""
    rng = np.random.default_rng(2)
    right = (rng.random((1, 40)) < 0.5) ^ (rng.random((seeds, 40)) < 0.02)
    copied, clusters = np.repeat(right, 10, axis=1), tuple(np.repeat(np.arange(40), 10))
    for of in (across_seeds, across_questions):
        alone, together, apart = of(right), of(copied, clusters), of(copied)
        assert ends(together) == pytest.approx(ends(alone))
        assert width(apart) < 0.8 * width(together)


def test_the_order_of_seeds_and_questions_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    values, clusters = rng.random((6, 30)), rng.integers(0, 12, 30)
    order, seeds = rng.permutation(30), rng.permutation(6)
    found = across_seeds(values, tuple(clusters))
    assert ends(across_seeds(values[seeds][:, order], tuple(clusters[order]))) == pytest.approx(ends(found))


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.25, 0.0), (0.1, 0.0), (-1 / 3, 0.0)])
def test_equal_values_have_an_interval_without_width(value: float, p: float) -> None:
    for found in (across_seeds(np.full((5, 40), value)), across_questions(np.full((2, 40), value))):
        assert (found.mean, *ends(found), found.p) == pytest.approx((value, value, value, p))


def test_p_is_below_one_in_twenty_where_the_interval_leaves_out_0() -> None:
    rng = np.random.default_rng(4)
    for shift in np.linspace(0, 0.2, 40):
        found = across_seeds(rng.normal(shift, 0.1, (5, 1)) + rng.normal(0, 0.4, (5, 50)))
        assert found.low is not None
        assert found.high is not None
        assert found.p is not None
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # the example of R's p.adjust
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.01, 0.01], [0.02, 0.02]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_holm(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected)


def test_the_bootstrap_over_groups_is_the_recorded_one() -> None:
    found = interval(np.array([[1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]))
    assert (found.mean, found.p) == (0.625, None)
    assert ends(found) == pytest.approx((0.25, 0.878125))


def test_a_recorded_bootstrap_is_widened_to_a_t_interval() -> None:
    """Of seeds alone it becomes the t-interval, but for the bootstrap's own noise."""
    values = np.random.default_rng(5).normal(0.1, 0.05, 5)
    drawn = values[np.random.default_rng(6).integers(0, 5, (20000, 5))].mean(axis=1)
    low, high = values.mean() + np.array([-1, 1]) * 1.96 * drawn.std()
    found = widened(float(values.mean()), low, high, 5)
    assert ends(found) == pytest.approx(ends(across_seeds(values[:, None])), abs=0.002)
    assert widened(0.1, 0.05, 0.15, 4) == widened(0.1, None, None, 5) == Estimate(0.1)


def test_json_has_four_decimals_and_a_p_value_of_four_digits() -> None:
    assert Estimate(0.123456, -0.2, 0.3, 0.000123456).as_dict() == {
        "mean": 0.1235,
        "low": -0.2,
        "high": 0.3,
        "p": 0.0001235,
    }
    assert Estimate(0.5).as_dict() == {"mean": 0.5, "low": None, "high": None, "p": None}


def ends(found: Estimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def width(found: Estimate) -> float:
    low, high = ends(found)
    return high - low
