"""Signals: numbers of a rollout, by the name under which a scoring config reads them.

All are of the distribution that the rollout was sampled from: the served policy after `rollout.temperature`, over the
words that it may sample. Tokens are those of the completion, the end of sequence included; logarithms are natural.
"""

import math
from collections.abc import Callable, Iterable

from ireasoner.trainer.rollouts.rollout import Rollout
from ireasoner.trainer.rollouts.token_figures import TOKEN_FIGURES

JUDGE = "judge"
"""The score of a judge, in [0, 1]."""


def _mean_figure(name: str) -> Callable[[Rollout], float]:
    return lambda rollout: math.fsum(rollout.figures[name]) / len(rollout.figures[name])


SIGNALS: dict[str, Callable[[Rollout], float]] = {
    "tokens": lambda rollout: float(len(rollout.token_ids)),
    "sum_logprob": lambda rollout: math.fsum(rollout.logprobs),
    "mean_logprob": lambda rollout: math.fsum(rollout.logprobs) / len(rollout.logprobs),
    **{name: _mean_figure(name) for name in TOKEN_FIGURES},
}
"""The signals of a rollout with at least one token, from the log-probabilities of its tokens and their figures."""


def signals_of(rollout: Rollout, names: Iterable[str]) -> dict[str, float]:
    """The signals `names` of a rollout; none of a rollout without tokens."""
    return {name: SIGNALS[name](rollout) for name in names} if rollout.token_ids else {}
