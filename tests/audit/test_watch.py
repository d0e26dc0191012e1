"""Which signs a window of figures shows, against the first one."""

from dataclasses import replace

import pytest

from ireasoner.audit.run_audit import Update, audit, window_of
from ireasoner.audit.signs import (
    DISTINCT,
    DOMINANT,
    ENTROPY,
    FLAT,
    FLIPS,
    LABELS,
    LENGTH_GAINS,
    NEAR_DUPLICATE,
    STEPS,
    TEMPLATES,
    WORDS,
    bounds,
    signs,
)
from ireasoner.audit.thresholds import Thresholds
from ireasoner.audit.watch import Watch

LIMITS = Thresholds(window=4)
START = {
    ENTROPY: 0.9,
    DOMINANT: 0.6,
    WORDS: 40.0,
    LABELS: 0.8,
    FLAT: 0.1,
    FLIPS: 0.2,
    DISTINCT: 0.8,
    NEAR_DUPLICATE: 0.3,
    TEMPLATES: 0.1,
    LENGTH_GAINS: 0.05,
}


def run(**late: float) -> list[Update]:
    """Eight updates like `START`, and eight whose named figures are others."""
    return [Update(at, START if at < 8 else {**START, **late}) for at in range(16)]


@pytest.mark.parametrize(
    ("figure", "value", "sign"),
    [
        (ENTROPY, 0.1, "entropy_fell"),
        (DOMINANT, 0.99, "answers_all_agree"),
        (DOMINANT, 0.5, "agreement_fell"),
        (WORDS, 10.0, "length_fell"),
        (WORDS, 150.0, "length_grew"),
        (DISTINCT, 0.1, "questions_repeat"),
        (LABELS, 0.5, "pseudo_labels_fell"),
    ],
)
def test_each_deciding_sign_makes_a_collapse_likely(figure: str, value: float, sign: str) -> None:
    found = audit(run(**{figure: value}), LIMITS)
    assert found.verdict == "collapse likely"
    assert [each.name for each in found.signs] == [sign]
    assert 8 <= found.signs[0].since <= 11, "the first window that shows it"


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        (ENTROPY, 0.3),
        (ENTROPY, 1.5),
        (DOMINANT, 0.96),
        (DOMINANT, 0.56),
        (WORDS, 20.0),
        (WORDS, 90.0),
        (DISTINCT, 0.2),
        (LABELS, 0.7),
        (LABELS, 1.0),
    ],
)
def test_a_change_within_the_thresholds_is_fine(figure: str, value: float) -> None:
    found = audit(run(**{figure: value}), LIMITS)
    assert found.verdict == "fine"
    assert found.signs == ()


@pytest.mark.parametrize(
    ("figure", "sign"),
    [
        (FLAT, "groups_without_spread"),
        (FLIPS, "answers_flip"),
        (NEAR_DUPLICATE, "questions_nearly_repeat"),
        (TEMPLATES, "steps_are_templates"),
        (LENGTH_GAINS, "length_is_paid"),
    ],
)
def test_other_signs_are_shown_but_do_not_decide(figure: str, sign: str) -> None:
    found = audit(run(**{figure: 0.95}), LIMITS)
    assert found.verdict == "fine"
    assert [(each.name, each.decides) for each in found.signs] == [(sign, False)]


def test_a_run_that_was_like_that_from_the_start_has_no_sign() -> None:
    extreme = {ENTROPY: 0.01, DOMINANT: 0.99, FLAT: 0.99, FLIPS: 0.99, NEAR_DUPLICATE: 1.0, TEMPLATES: 1.0}
    assert audit([Update(at, extreme) for at in range(30)], LIMITS).signs == ()


def test_a_sign_that_has_passed_is_gone_and_a_second_one_counts_from_its_own_start() -> None:
    bad = {**START, DOMINANT: 0.3}
    recovered = [START] * 8 + [bad] * 8 + [START] * 8
    assert audit([*map(Update, range(24), recovered)], LIMITS).verdict == "fine"
    again = [*recovered, *[bad] * 8]
    [sign] = audit([*map(Update, range(32), again)], LIMITS).signs
    assert sign.since >= 24


@pytest.mark.parametrize(
    ("updates", "window", "verdict"),
    [(0, 3, "too early"), (5, 3, "too early"), (6, 3, "fine"), (30, 10, "fine"), (90, 20, "fine")],
)
def test_a_short_run_gets_a_short_window_and_a_very_short_one_no_verdict(
    updates: int, window: int, verdict: str
) -> None:
    limits = Thresholds()
    assert window_of(updates, limits) == window
    assert audit([Update(at, START) for at in range(updates)], limits).verdict == verdict


def test_a_figure_that_is_missing_in_some_updates_is_averaged_over_those_that_have_it() -> None:
    known = [Update(at, {LABELS: 0.8 if at < 10 else 0.3} if at % 2 else {}) for at in range(21)]
    [sign] = audit(known, LIMITS).signs
    assert sign.name == "pseudo_labels_fell", "although the last update has no labels"


def test_every_threshold_moves_its_sign() -> None:
    loose = Thresholds(
        window=4,
        entropy_share=0.0,
        dominant_share=1.0,
        agreement_share=0.0,
        distinct_share=0.0,
        length_share=0.0,
        length_factor=1e9,
        label_share=0.0,
        flat_share=1.0,
        flip_share=1.0,
        near_duplicate_share=1.0,
        template_share=1.0,
        length_gain_share=1.0,
    )
    worst = {name: 0.0 if name in (ENTROPY, WORDS, LABELS, DISTINCT) else 1.0 for name in START}
    assert audit(run(**worst), loose).signs == ()
    assert len(audit(run(**worst), LIMITS).signs) == 10
    assert len(audit(run(**worst), replace(LIMITS, window=5)).signs) == 10


@pytest.mark.parametrize(
    ("figure", "first", "expected"),
    [
        (ENTROPY, 0.5, (0.1, None)),
        (ENTROPY, 0.0, (0.0, None)),
        (DOMINANT, 0.6, (0.54, 0.97)),
        (DOMINANT, 0.99, (0.891, 0.99)),
        (WORDS, 40.0, (16.0, 100.0)),
        (WORDS, 0.0, (0.0, None)),
        (LABELS, 0.5, (0.4, None)),
        (DISTINCT, 0.5, (0.1, None)),
        (FLAT, 0.1, (None, 0.8)),
        (FLAT, 0.9, (None, 0.9)),
        (FLIPS, 0.2, (None, 0.5)),
        (FLIPS, 0.45, (None, 0.55)),
        (TEMPLATES, 0.7, (None, 0.8)),
        (STEPS, 3.0, (None, None)),
    ],
)
def test_a_figure_is_a_sign_just_beyond_its_bounds(
    figure: str, first: float, expected: tuple[float | None, float | None]
) -> None:
    least, largest = bounds(figure, first, LIMITS)
    assert (least, largest) == pytest.approx(expected)
    rules = [sign.rule for sign in signs(LIMITS) if sign.figure == figure]

    def is_sign(mean: float) -> bool:
        return any(rule.reason(mean, first) for rule in rules)

    for bound, beyond in ((least, -1e-9), (largest, 1e-9)):
        assert bound is None or (is_sign(bound + beyond), is_sign(bound)) == (True, False)


def test_a_figure_over_a_window_is_compared_as_it_is() -> None:
    watch = Watch([sign for sign in signs(LIMITS) if sign.figure == DISTINCT], 4, averaged=(DISTINCT,))
    assert watch.observe({DISTINCT: 0.9}) == {}
    assert watch.observe({}) == {}
    assert set(watch.observe({DISTINCT: 0.1})) == {"questions_repeat"}


def test_every_sign_says_where_its_threshold_comes_from() -> None:
    assert all(sign.source for sign in signs(Thresholds()))
    assert len({sign.name for sign in signs(Thresholds())}) == 12
