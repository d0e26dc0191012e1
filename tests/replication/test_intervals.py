"""The bootstrap over seeds and questions, against known results."""

import numpy as np
import pytest

from replication.intervals import interval


def test_constant_values_have_an_interval_without_width() -> None:
    found = interval(np.full((5, 40), 0.25))
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_the_width_combines_the_standard_errors_of_seeds_and_questions() -> None:
    """With independent effects, the variance of the mean is the sum of each variance divided by its count."""
    rng = np.random.default_rng(0)
    seeds, questions = rng.normal(0, 0.2, (40, 1)), rng.normal(0, 0.5, (1, 400))
    found = interval(seeds + questions)
    expected = np.sqrt(seeds.var() / 40 + questions.var() / 400)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * expected, rel=0.1)


def test_pairing_removes_what_two_arms_share() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random((1, 300)) < 0.5
    ours, theirs = (np.where(hard, rng.random((5, 300)) < share, 1.0) for share in (0.3, 0.1))
    paired = interval(ours - theirs)
    alone = interval(ours)
    assert paired.mean == pytest.approx(ours.mean() - theirs.mean())
    assert paired.low > 0
    assert paired.high - paired.low < alone.high - alone.low


def test_a_figure_of_a_run_varies_over_seeds_alone() -> None:
    found = interval(np.array([[0.1], [0.2], [0.3]]))
    assert found.mean == pytest.approx(0.2)
    assert 0.1 <= found.low < 0.2 < found.high <= 0.3


def test_questions_of_one_cluster_are_drawn_together() -> None:
    """Ten questions that are right or wrong together carry no more information than one."""
    rng = np.random.default_rng(2)
    right = rng.random((1, 40)) < 0.5
    alone = interval(right)
    copied, clusters = np.repeat(right, 10, axis=1), np.repeat(np.arange(40), 10)
    together = interval(copied, tuple(clusters))
    assert (together.mean, together.low, together.high) == pytest.approx((alone.mean, alone.low, alone.high))
    apart = interval(copied)
    assert apart.high - apart.low < 0.5 * (together.high - together.low)


def test_a_large_cluster_weighs_by_its_questions() -> None:
    values = np.array([[1.0, 1.0, 1.0, 0.0]])
    found = interval(values, ("a", "a", "a", "b"))
    assert (found.mean, found.low, found.high) == (0.75, 0.0, 1.0)
