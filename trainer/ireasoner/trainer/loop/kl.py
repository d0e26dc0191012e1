"""The coefficient of the KL penalty, one for each role."""

import math

from ireasoner.trainer.errors import DivergedError
from ireasoner.trainer.settings import KlSettings


class KlCoefficient:
    """beta, which multiplies KL(policy || base model) in the loss.

    Adaptive as in iReasoner (arXiv 2601.05877): after each update, `beta <- beta exp(rate (KL - target) / target)`,
    kept in [beta_min, beta_max].
    """

    def __init__(self, settings: KlSettings) -> None:
        self._settings = settings
        self.beta = 0.0 if settings.mode == "none" else settings.beta

    def observe(self, kl_nats: float) -> None:
        """Takes in the mean KL of an update, nats a token.

        Raises:
            DivergedError: `kl_nats` is not a number.
        """
        if not math.isfinite(kl_nats):
            raise DivergedError(
                f"KL to the base model is {kl_nats}: the policy has diverged; lower the learning rate"
            )
        if self._settings.mode != "adaptive":
            return
        settings = self._settings
        exponent = settings.rate * (kl_nats - settings.target) / settings.target
        # exp() beyond this would overflow; the bounds below are reached long before.
        beta = self.beta * math.exp(min(exponent, 50.0))
        self.beta = min(max(beta, settings.beta_min), settings.beta_max)
