"""The coefficient of the KL penalty, one per role."""

import math

from ireasoner.trainer.errors import DivergedError
from ireasoner.trainer.settings import KlSettings

RATE = 0.10
"""Speed of the adaptive coefficient; the paper's."""

BOUNDS = (1e-8, 1e2)
"""Bounds of the adaptive coefficient; the paper's."""


class KlCoefficient:
    """beta, which multiplies KL(policy || base model) in the loss.

    Adaptive as in iReasoner (arXiv 2601.05877): after each update, `beta <- beta exp(0.1 (KL - target) / target)`,
    kept in [1e-8, 1e2].
    """

    def __init__(self, settings: KlSettings) -> None:
        self._settings = settings
        self.beta = 0.0 if settings.mode == "none" else settings.beta

    def observe(self, kl_nats: float) -> None:
        """Adapts beta to the mean KL of an update, in nats per token.

        Raises:
            DivergedError: `kl_nats` is not a number.
        """
        if not math.isfinite(kl_nats):
            raise DivergedError(
                f"KL to the base model is {kl_nats}: the policy has diverged; lower the learning rate"
            )
        if self._settings.mode != "adaptive":
            return
        exponent = RATE * (kl_nats - self._settings.target) / self._settings.target
        # exp() beyond 50 would overflow; the upper bound is reached long before.
        beta = self.beta * math.exp(min(exponent, 50.0))
        self.beta = min(max(beta, BOUNDS[0]), BOUNDS[1])
