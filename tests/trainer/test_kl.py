"""The KL coefficient against values worked out by hand."""

import math

import pytest

from ireasoner.trainer.errors import DivergedError
from ireasoner.trainer.loop.kl import KlCoefficient
from ireasoner.trainer.settings import KlSettings


def test_the_adaptive_coefficient_is_the_papers() -> None:
    coefficient = KlCoefficient(KlSettings())
    assert coefficient.beta == 1e-3

    coefficient.observe(0.04)  # twice the target: exp(0.10 * 1)
    assert coefficient.beta == pytest.approx(1e-3 * math.exp(0.1))

    coefficient.observe(0.0)  # exp(0.10 * -1)
    assert coefficient.beta == pytest.approx(1e-3)

    coefficient.observe(0.02)  # on target
    assert coefficient.beta == pytest.approx(1e-3)


def test_the_adaptive_coefficient_stays_within_its_bounds() -> None:
    coefficient = KlCoefficient(KlSettings())
    coefficient.observe(1e6)
    assert coefficient.beta == 1e2
    for _ in range(300):
        coefficient.observe(0.0)
    assert coefficient.beta == 1e-8


def test_a_fixed_coefficient_stays() -> None:
    coefficient = KlCoefficient(KlSettings(mode="fixed", beta=0.3))
    coefficient.observe(5.0)
    assert coefficient.beta == 0.3


def test_without_a_penalty_the_coefficient_is_zero() -> None:
    assert KlCoefficient(KlSettings(mode="none", beta=0.3)).beta == 0.0


def test_a_kl_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(DivergedError, match="diverged"):
        KlCoefficient(KlSettings()).observe(math.nan)
