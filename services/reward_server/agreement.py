"""The rewards' formulas: arrays in, arrays out, double precision, no I/O.

Source of all: iReasoner (arXiv 2601.05877) and EvoLMM (arXiv 2511.16672). N is the number of rollouts in a
group, G of those that give the dominant answer, J of step positions, D of embedding dimensions, A of answers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reward_server.scoring_config import ScoringConfig

Doubles = NDArray[np.float64]
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class StepAgreement:
    """How far the steps of the dominant rollouts agree.

    `cosines` [G, J] is NaN where a step took no part; `weights` [G, J] is 0 there. `rewards` [G], in [0, 1],
    is NaN for a rollout that could not be judged.
    """

    cosines: Doubles
    weights: Doubles
    rewards: Doubles


def outcome_rewards(shares: Doubles, words: Doubles, config: ScoringConfig) -> Doubles:
    """r_ans = p(a)^alpha * (1 - eta * l), l = clip((w - tau) / tau, 0, 1); all [N], in [0, 1].

    `shares` is 0 for a rollout without an answer, whose reward is then 0, also where alpha is 0.
    """
    length = np.clip((words - config.tau_words) / config.tau_words, 0.0, 1.0)
    return np.where(shares > 0, shares**config.alpha * (1.0 - config.eta * length), 0.0)


def density(dominant_share: float, config: ScoringConfig) -> float:
    """rho = (|G| / N)^gamma, in [0, 1]; 0 if no rollout has an answer, also where gamma is 0."""
    return float(dominant_share**config.gamma) if dominant_share > 0 else 0.0


def step_agreement(
    embeddings: NDArray[np.float32], present: NDArray[np.bool_], rho: float, config: ScoringConfig
) -> StepAgreement:
    """r_step_i = rho * sum_j v_j (1 + cos(e_ij, mu_j)) / 2 / sum_j v_j, over the positions used.

    `embeddings` [G, J, D] holds unit rows, and `present` [G, J] tells which steps exist. v_j is
    exp(-position_decay * j); mu_j is the unit mean of the rows at j, and is used if at least
    `min_position_members` rollouts have a step j. Where a mean has no direction its cosines are 0, which is
    their limit.

    A rollout without a step at any used position agrees with nobody: its reward is 0, as it is for a
    dominant answer given only once. A step whose row is zero has no embedding: it is in no mean, and its
    rollout cannot be judged.
    """
    rows = embeddings.astype(np.float64)
    embedded = present & (np.abs(rows).max(axis=2, initial=0.0) > 0)
    unjudged = (present & ~embedded).any(axis=1)

    used = embedded & (embedded.sum(axis=0) >= config.min_position_members)
    means = np.where(used[:, :, None], rows, 0.0).sum(axis=0)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    directions = np.divide(means, norms, out=np.zeros_like(means), where=norms > _TINY)
    cosines = np.clip(np.einsum("gjd,jd->gj", rows, directions), -1.0, 1.0)

    weights = np.where(used, np.exp(-config.position_decay * np.arange(used.shape[1])), 0.0)
    total = weights.sum(axis=1)
    weighted = (weights * (1.0 + cosines) / 2.0).sum(axis=1)
    rewards = rho * np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)
    return StepAgreement(
        cosines=np.where(used, cosines, np.nan),
        weights=weights,
        rewards=np.where(unjudged, np.nan, rewards),
    )


def step_weight(progress: float, config: ScoringConfig) -> float:
    """lambda(t): 0 up to t = warmup, then linear to lambda_max at t = 1; or lambda_max throughout."""
    if config.lambda_schedule == "constant":
        return config.lambda_max
    return config.lambda_max * max(0.0, progress - config.warmup) / (1.0 - config.warmup)


def solver_rewards(outcome: Doubles, trajectory: Doubles, lambda_t: float) -> Doubles:
    """r_sol = (1 - lambda) r_ans + lambda r_step, [N]; NaN where a part that has weight is NaN."""
    return (1.0 - lambda_t) * outcome + (lambda_t * trajectory if lambda_t > 0 else 0.0)


def answer_entropy_nats(shares: Doubles) -> float:
    """H = -sum_a p(a) ln p(a) over the answers, [A], p(a) > 0 being shares of the whole group."""
    return float(-(shares * np.log(shares)).sum()) + 0.0


def proposer_reward(entropy_nats: float, config: ScoringConfig) -> float:
    """r_prop = exp(-(H - target)^2 / (2 width^2)), in [0, 1]."""
    deviation = (entropy_nats - config.entropy_target_nats) / config.entropy_width_nats
    return float(np.exp(-0.5 * deviation**2))
