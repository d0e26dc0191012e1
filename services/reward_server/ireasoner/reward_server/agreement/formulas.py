"""The rewards' formulas: arrays in, arrays out, double precision, no I/O.

Source of all: iReasoner (arXiv 2601.05877) and EvoLMM (arXiv 2511.16672). N is the number of rollouts in a
group, G of those that give the dominant answer, S of all their steps, D of embedding dimensions, A of answers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.agreement.alignment import Places, Present, StepOrder
from ireasoner.reward_server.agreement.centring import directed
from ireasoner.reward_server.scoring_config import ScoringConfig

FORMULAS_VERSION = "2"
"""Part of the fingerprint: raised with every change of a formula, here or in what gives it its arguments."""

Doubles = NDArray[np.float64]
_TINY = 1e-12
_LARGEST_EXPONENT = 700.0  # exp(-700) is not 0 yet, so that the mean of late steps alone has a weight


@dataclass(frozen=True, slots=True)
class StepAgreement:
    """How far the steps of rollouts that give one answer agree; all but `rewards` are [S], rollout by rollout.

    `cosines` is NaN where a step took no part. `credits`, in [0, 1], is what a step earned; `weights` what
    that counts in its rollout's mean; `places` where it stands in the group, -1 if nowhere. `rewards` [G],
    in [0, 1], is not yet multiplied by the density.
    """

    cosines: Doubles
    credits: Doubles
    weights: Doubles
    places: Places
    rewards: Doubles


def outcome_rewards(shares: Doubles, words: Doubles, config: ScoringConfig) -> Doubles:
    """r_ans = p(a)^alpha * (1 - eta * l), l = clip((w - tau) / tau, 0, 1); all [N], in [0, 1].

    `shares` is 0 for a rollout without an answer, whose reward is then 0, also where alpha is 0.
    """
    with np.errstate(over="ignore"):  # of a tau near 0; the clip takes what comes of it
        length = np.clip((words - config.tau_words) / config.tau_words, 0.0, 1.0)
    return np.where(shares > 0, shares**config.alpha * (1.0 - config.eta * length), 0.0)


def density(share: float, config: ScoringConfig) -> float:
    """rho = (|G| / N)^gamma, in [0, 1]; 0 if no rollout has an answer, also where gamma is 0."""
    return float(share**config.gamma) if share > 0 else 0.0


def consensus_weight(distinct: int, count: int, config: ScoringConfig) -> float:
    """w(a) = (distinct / count)^distinct_exponent, in [0, 1], for an answer that `count` rollouts gave.

    `distinct` of them have trajectories of their own. The share p(a), wherever a reward is computed from it
    and where the dominant answer is chosen, is multiplied by it: five copies of one text are weaker evidence
    than five ways to one answer.
    """
    return float((distinct / count) ** config.distinct_exponent)


def has_consensus(dominant_share: float, config: ScoringConfig) -> bool:
    """Whether p(a) >= min_dominant_share of the dominant answer a. If not, no rollout earns anything.

    The fewer rollouts stand behind a group's majority, the likelier it is wrong; and a method that
    normalises advantages within groups learns as much from it as from one that all but agrees.
    """
    return dominant_share >= config.min_dominant_share


def fullness(distinct_steps: int, config: ScoringConfig) -> float:
    """min(1, k / min_steps), by which the step reward of a rollout with k distinct steps is multiplied."""
    return min(1.0, distinct_steps / config.min_steps) if config.min_steps else 1.0


def step_agreement(
    rows: Doubles,
    order: StepOrder,
    places: Places,
    config: ScoringConfig,
    specificity: Doubles | None = None,
) -> StepAgreement:
    """r_step_i / rho = sum_j v_j c_ij / sum_j v_j, over the places p = p_ij of rollout i's steps that are used.

    `rows` [S, D] have length at most 1, and `places` [S] tells where each stands, -1 if it has no embedding
    or no place. v_p is exp(-position_decay * p). A place is used if at least `min_position_members` rollouts
    have a step there, and mu_p is the direction of their mean.

    c_ij = max(0, (cos(e_ij, mu_p) - f) / (1 - f)), f being `cosine_floor`: with the paper's -1 that is
    (1 + cos) / 2, in which steps that have nothing in common still earn 1/2. It is multiplied by
    `specificity` [S], in [0, 1], if that is given.

    With `step_means` leave_one_out mu_p is the mean of the other rollouts' steps, so that no step agrees
    with itself: two orthogonal steps have cosine 0, and not .707.

    With `coverage` union the sum below also runs over the used places p that rollout i lacks, with v_p times
    the share of the others that have it, and over its own steps that stand in no used place, with v_j of
    their index: both earn nothing. So neither leaving steps out nor adding ones that nobody shares is free.

    A mean without a direction has cosine 0 with everything, which is the limit. A rollout without a step at
    any used place agrees with nobody: its reward is 0.
    """
    count = int(places.max(initial=-1)) + 1
    standing = places == np.arange(count)[:, None]
    members = standing.sum(axis=1)
    is_used = members >= config.min_position_members
    used = (places >= 0) & is_used[places] if count else np.zeros(len(places), bool)

    cosines = np.where(used, _cosines_to_means(rows, places, standing, members, config), np.nan)
    floor = config.cosine_floor
    earned = np.where(used, np.clip((cosines - floor) / (1.0 - floor), 0.0, 1.0), 0.0)
    if specificity is not None:
        earned = earned * specificity

    numbers = np.arange(max(order.longest, count))
    decay = np.exp(-np.minimum(config.position_decay * numbers, _LARGEST_EXPONENT))
    weights = np.where(used, decay[places], 0.0)
    if config.coverage == "union":
        weights = np.where(used, weights, np.where(order.exists, decay[order.index], 0.0))
    total = order.sums(weights)
    if config.coverage == "union":
        lacking = np.broadcast_to(is_used, (order.members, count)).copy()
        lacking[order.member[used], places[used]] = False
        total += (lacking * (decay[:count] * members / max(order.members - 1, 1))).sum(axis=1)
    rewards = np.divide(order.sums(weights * earned), total, out=np.zeros_like(total), where=total > 0)
    return StepAgreement(cosines, earned, weights, np.where(used, places, -1), rewards)


def _cosines_to_means(
    rows: Doubles, places: Places, standing: Present, members: NDArray[np.intp], config: ScoringConfig
) -> Doubles:
    """cos(e_s, mu_p) [S], p being the place of s; only where that is used does it mean anything.

    Each is summed for itself: a matrix product rounds a row by where it stands, and copies would differ.
    """
    if not len(standing):
        return np.zeros(len(rows))
    sums = standing.astype(np.float64) @ rows
    if config.step_means == "leave_one_out":
        others = np.maximum(members[places] - 1, 1)[:, None]
        cosines = np.einsum("sd,sd->s", rows, directed((sums[places] - rows) / others))
    else:
        norms = np.linalg.norm(sums, axis=1)
        scales = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > _TINY)
        cosines = np.einsum("sd,sd->s", rows, sums[places]) * scales[places]
    clipped: Doubles = np.clip(cosines, -1.0, 1.0)
    return clipped


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


def proposer_reward(entropy_nats: float, rollouts: int, config: ScoringConfig) -> float:
    """r_prop = exp(-(H - target)^2 / (2 width^2)), in [0, 1].

    The paper's target and width belong to groups of 5. With `entropy_scale` ln_n both are multiplied by
    ln N / ln 5, N being `rollouts`: the reward is then one function of H / ln N, the same for every N. A
    group of one, for which that is 0 / 0, counts as one that agrees.
    """
    if config.entropy_scale == "ln_n":
        entropy_nats = entropy_nats * math.log(5) / math.log(rollouts) if rollouts > 1 else 0.0
    deviation = abs(entropy_nats - config.entropy_target_nats) / config.entropy_width_nats
    return float(np.exp(-0.5 * min(deviation, 100.0) ** 2))
