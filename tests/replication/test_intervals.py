"""The bootstrap over seeds and questions, against what is known of it."""

import numpy as np
import pytest

from replication.intervals import interval


def test_what_does_not_vary_has_no_width() -> None:
    told = interval(np.full((5, 40), 0.25))
    assert (told.mean, told.low, told.high) == pytest.approx((0.25, 0.25, 0.25))


def test_it_has_the_width_of_the_standard_errors_of_seeds_and_questions() -> None:
    """Of independent effects of seeds and questions the variance of the mean is the sum of both over their numbers."""
    rng = np.random.default_rng(0)
    seeds, questions = rng.normal(0, 0.2, (40, 1)), rng.normal(0, 0.5, (1, 400))
    told = interval(seeds + questions)
    expected = np.sqrt(seeds.var() / 40 + questions.var() / 400)
    assert (told.high - told.low) / 2 == pytest.approx(1.96 * expected, rel=0.1)


def test_pairing_takes_out_what_two_rows_share() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random((1, 300)) < 0.5
    ours, theirs = (np.where(hard, rng.random((5, 300)) < share, 1.0) for share in (0.3, 0.1))
    paired = interval(ours - theirs)
    alone = interval(ours)
    assert paired.mean == pytest.approx(ours.mean() - theirs.mean())
    assert paired.low > 0
    assert paired.high - paired.low < alone.high - alone.low


def test_a_figure_of_runs_varies_with_seeds_alone() -> None:
    told = interval(np.array([[0.1], [0.2], [0.3]]))
    assert told.mean == pytest.approx(0.2)
    assert 0.1 <= told.low < 0.2 < told.high <= 0.3


def test_questions_of_one_cluster_are_drawn_together() -> None:
    """Ten questions that are right or wrong together tell no more than one."""
    rng = np.random.default_rng(2)
    told = rng.random((1, 40)) < 0.5
    alone = interval(told)
    copied, clusters = np.repeat(told, 10, axis=1), np.repeat(np.arange(40), 10)
    together = interval(copied, tuple(clusters))
    assert (together.mean, together.low, together.high) == pytest.approx((alone.mean, alone.low, alone.high))
    apart = interval(copied)
    assert apart.high - apart.low < 0.5 * (together.high - together.low)


def test_a_large_cluster_weighs_by_its_questions() -> None:
    values = np.array([[1.0, 1.0, 1.0, 0.0]])
    told = interval(values, ("a", "a", "a", "b"))
    assert (told.mean, told.low, told.high) == (0.75, 0.0, 1.0)
