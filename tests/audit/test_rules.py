"""When a figure is a sign, given its first window."""

import pytest

from ireasoner.audit.signs import DOMINANT, NEAR_DUPLICATE, bounds, signs
from ireasoner.audit.thresholds import Thresholds

LIMITS = Thresholds()


def test_the_bounds_of_a_figure_are_those_of_all_its_signs() -> None:
    least, largest = bounds(DOMINANT, 0.5, LIMITS)
    assert least == pytest.approx(LIMITS.agreement_share * 0.5)
    assert largest == LIMITS.dominant_share


def test_a_share_that_cannot_rise_enough_has_no_limit_above() -> None:
    [rule] = [sign.rule for sign in signs(LIMITS) if sign.figure == NEAR_DUPLICATE]
    limit = LIMITS.near_duplicate_share
    assert bounds(NEAR_DUPLICATE, limit, LIMITS)[1] == pytest.approx(limit + LIMITS.rise)
    assert bounds(NEAR_DUPLICATE, 0.95, LIMITS)[1] is None
    assert rule.reason(1.0, 0.95) is None
