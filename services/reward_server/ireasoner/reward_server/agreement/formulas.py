"""The rewards' formulas: arrays in, arrays out, double precision, no I/O.

Source of all: iReasoner (arXiv 2601.05877) and EvoLMM (arXiv 2511.16672). N is the number of rollouts in a
group, G the rollouts that give the dominant answer (with `step_scope` group: any answer), S the steps of all of
these, U their distinct vectors, P the slots, D the embedding dimensions, A the answers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.agreement.alignment import (
    AT_ONCE,
    Doubles,
    Present,
    Slots,
    StepOrder,
    StepVectors,
    directed,
)
from ireasoner.reward_server.scoring_config import ScoringConfig

FORMULAS_VERSION = "2"
"""Part of the fingerprint. Raise it with every change of a formula, here or in what computes its arguments."""

_TINY = 1e-12
_LARGEST_EXPONENT = 700.0  # exp(-700) is not yet 0, so a mean over late steps alone keeps a weight


@dataclass(frozen=True, slots=True)
class StepAgreement:
    """How far the steps of rollouts with one answer agree; all but `rewards` are [S], rollout by rollout.

    `cosines` is NaN where a step was not compared. `credits`, in [0, 1], is what a step earned, `weights` the
    weight of that credit in its rollout's mean, `slots` the step's slot, -1 if it has none. `rewards` [G], in
    [0, 1], is not yet multiplied by the density.
    """

    cosines: Doubles
    credits: Doubles
    weights: Doubles
    slots: Slots
    rewards: Doubles


def share_rewards(shares: Doubles, config: ScoringConfig) -> Doubles:
    """p(a)^alpha, [N], in [0, 1]; r_ans is this times the length factor.

    `shares` is 0 for an answer without votes and for a rollout without an answer; the result is then 0 even if alpha
    is 0.
    """
    return np.where(shares > 0, shares**config.alpha, 0.0)


def length_factors(words: Doubles, config: ScoringConfig) -> Doubles:
    """1 - eta * l, l = clip((w - tau) / tau, 0, 1); all [N], in [0, 1]."""
    with np.errstate(over="ignore"):  # with a tau near 0; the clip bounds the result
        length = np.clip((words - config.tau_words) / config.tau_words, 0.0, 1.0)
    factors: Doubles = 1.0 - config.eta * length
    return factors


def density(share: float, config: ScoringConfig) -> float:
    """rho = (|G| / N)^gamma, in [0, 1]; 0 if no rollout has an answer, even if gamma is 0."""
    return float(share**config.gamma) if share > 0 else 0.0


def consensus_weight(distinct: int, count: int, config: ScoringConfig) -> float:
    """w(a) = (distinct / count)^distinct_exponent, in [0, 1], for an answer that `count` rollouts gave.

    `distinct` is the number of different trajectories among them. The share p(a) is multiplied by w(a)
    wherever a reward is computed from it and where the dominant answer is chosen: five copies of one text are
    weaker evidence than five ways to one answer.
    """
    return float((distinct / count) ** config.distinct_exponent)


def has_consensus(dominant_share: float, config: ScoringConfig) -> bool:
    """Whether p(a) >= min_dominant_share for the dominant answer a. If not, no rollout earns anything.

    The smaller a group's majority, the likelier it is wrong. A method that normalises advantages within groups
    nevertheless learns as much from it as from a group that almost agrees.
    """
    return dominant_share >= config.min_dominant_share


def fullness(distinct_steps: int, config: ScoringConfig) -> float:
    """min(1, k / min_steps), the factor of the step reward of a rollout with k distinct steps."""
    return min(1.0, distinct_steps / config.min_steps) if config.min_steps else 1.0


def step_agreement(
    vectors: StepVectors, order: StepOrder, slots: Slots, config: ScoringConfig
) -> StepAgreement:
    """r_step_i / rho = sum_j v_p c_ij / sum_j v_p over the steps j of rollout i whose slot p is used.

    `slots` [S] is -1 where a step has no embedding or no slot. The weight v_p is exp(-position_decay * p). A slot
    is used if at least `min_position_members` rollouts have a step in it; mu_p is the direction of the mean of
    these steps.

    The credit c_ij is max(0, (cos(e_ij, mu_p) - f) / (1 - f)), where f is `cosine_floor`. The paper's f = -1
    gives (1 + cos) / 2, in which steps that have nothing in common still earn 1/2.

    With `step_means` leave_one_out, mu_p is the mean of the other rollouts' steps, so no step agrees with
    itself: two orthogonal steps have cosine 0, not 0.707.

    With `coverage` union, the sum of weights also includes the used slots p that rollout i lacks, with v_p
    times the share of the others that have it, and its own steps outside used slots, with the v of their
    index. Both earn nothing, so neither leaving steps out nor adding steps that nobody shares is free.

    A mean without a direction has cosine 0 with everything, which is the limit. A rollout without a step in
    any used slot has reward 0.
    """
    count = int(slots.max(initial=-1)) + 1
    members = np.bincount(slots[slots >= 0], minlength=count)
    is_used = members >= config.min_position_members
    used = (slots >= 0) & is_used[slots] if count else np.zeros(len(slots), bool)

    cosines = np.full(len(slots), np.nan)
    cosines[used] = _cosines_to_means(vectors, slots, used, members, config)
    floor = config.cosine_floor
    earned = np.where(used, np.clip((cosines - floor) / (1.0 - floor), 0.0, 1.0), 0.0)

    numbers = np.arange(max(order.longest, count))
    decay = np.exp(-np.minimum(config.position_decay * numbers, _LARGEST_EXPONENT))
    weights = np.where(used, decay[slots], 0.0)
    if config.coverage == "union":
        weights = np.where(used, weights, np.where(vectors.exists, decay[order.index], 0.0))
    total = order.sums(weights)
    if config.coverage == "union":
        lacking = np.broadcast_to(is_used, (order.members, count)).copy()
        lacking[order.member[used], slots[used]] = False
        total += (lacking * (decay[:count] * members / max(order.members - 1, 1))).sum(axis=1)
    rewards = np.divide(order.sums(weights * earned), total, out=np.zeros_like(total), where=total > 0)
    return StepAgreement(cosines, earned, weights, np.where(used, slots, -1), rewards)


def _cosines_to_means(
    vectors: StepVectors, slots: Slots, used: Present, members: NDArray[np.intp], config: ScoringConfig
) -> Doubles:
    """cos(e_s, mu_p) of the `used` steps, where p is the slot of s.

    A cosine depends on the vector and the slot alone, so each such pair is computed once, and copies of a step have
    equal ones. It is summed by itself: a matrix product rounds a row by its position in the matrix.
    """
    pairs, of_step = np.unique(slots[used] * len(vectors.rows) + vectors.row[used], return_inverse=True)
    means = vectors.sums(slots, len(members))
    if config.step_means == "all":
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        means = np.divide(means, norms, out=np.zeros_like(means), where=norms > _TINY)
    cosines = np.empty(len(pairs))
    together = max(1, AT_ONCE // vectors.rows.shape[1])
    for start in range(0, len(pairs), together):
        slot, row = np.divmod(pairs[start : start + together], len(vectors.rows))
        rows, mean = vectors.rows[row], means[slot]
        if config.step_means == "leave_one_out":
            mean = directed((mean - rows) / np.maximum(members[slot] - 1, 1)[:, None])
        cosines[start : start + together] = np.einsum("sd,sd->s", rows, mean)
    clipped: Doubles = np.clip(cosines, -1.0, 1.0)[of_step]
    return clipped


def step_weight(progress: float, config: ScoringConfig) -> float:
    """lambda(t): 0 up to t = warmup, then linear to lambda_max at t = 1; or lambda_max throughout."""
    if config.lambda_schedule == "constant":
        return config.lambda_max
    return config.lambda_max * max(0.0, progress - config.warmup) / (1.0 - config.warmup)


def solver_rewards(outcome: Doubles, trajectory: Doubles, lambda_t: float) -> Doubles:
    """r_sol = (1 - lambda) r_ans + lambda r_step, [N]; NaN where a part with a weight is NaN."""
    return (1.0 - lambda_t) * outcome + (lambda_t * trajectory if lambda_t > 0 else 0.0)


def answer_entropy_nats(shares: Doubles) -> float:
    """H = -sum_a p(a) ln p(a) over `shares` [A], the answers' shares p(a) > 0 of the whole group."""
    return float(-(shares * np.log(shares)).sum()) + 0.0


def proposer_reward(entropy_nats: float, rollouts: int, config: ScoringConfig) -> float:
    """r_prop = exp(-(H - target)^2 / (2 width^2)), in [0, 1].

    The paper's target and width are for groups of 5. With `entropy_scale` ln_n both are multiplied by
    ln N / ln 5, where N is `rollouts`: the reward is then the same function of H / ln N for every N. A group of
    one, for which H / ln N is 0 / 0, counts as unanimous.
    """
    if config.entropy_scale == "ln_n":
        entropy_nats = entropy_nats * math.log(5) / math.log(rollouts) if rollouts > 1 else 0.0
    deviation = abs(entropy_nats - config.entropy_target_nats) / config.entropy_width_nats
    return float(np.exp(-0.5 * min(deviation, 100.0) ** 2))
