"""The formulas of other label-free outcome rewards: arrays in, arrays out, double precision, no I/O.

N is the number of rollouts in a group, M the number of voters that judge them. Where no file of the authors could be
read, or where paper and code differ, the docstring says so. Answers without a value are never NaN here: whoever calls
these functions decides which rollouts abstain.
"""

import numpy as np

from ireasoner.reward_server.agreement.alignment import Doubles, Present

METHODS_VERSION = "1"
"""Part of the fingerprint of configs with fields of wire 2.2. Raise it with every change of a formula here."""

JUDGE_GAIN = 0.2
JUDGE_HIGH, JUDGE_HIGH_WIDTH = 0.95, 0.02
JUDGE_LOW, JUDGE_LOW_WIDTH = 0.40, 0.05
"""The constants of `judge_factors`, those of the authors' code."""
ROUNDING = 1e-9
"""How far an entropy may lie outside its bounds: H and ln N are both rounded."""


def majority_rewards(is_mode: Present, modes: Doubles) -> Doubles:
    """1 / m for the answers that are one of the m most frequent ones, else 0; all [N], in [0, 1].

    Source: TTRL (arXiv 2504.16084, section 2.2, equation 3), which pays 1 for the majority answer, else 0; MM-UPT
    (arXiv 2505.22453) pays the same. The papers do not mention ties. Both codes pay the tied answer that was sampled
    first; here the reward is the mean over a random choice, so it does not depend on the order of rollouts. In both
    codes rollouts without an answer vote with each other and can win; here they do not vote.
    """
    return np.where(is_mode, 1.0 / np.maximum(modes, 1.0), 0.0)


def has_unique_mode(count: int, modes: int) -> bool:
    """Whether one answer has the most votes, and at least two.

    Source: a function in the code of arXiv 2603.21289 that it never calls. There the rewards of a group without
    such an answer are 0; here its rollouts abstain, because under a moving baseline a 0 would punish them all.
    """
    return modes == 1 and count >= 2


def is_within(entropy_nats: float, voters: int, low: float, high: float) -> bool:
    """Whether low <= H / ln M <= high, where H is the entropy of the votes; H / ln M is 0 for one voter.

    Source: EMPO (arXiv 2504.05812, equation 7) optimises only where the entropy is between two bounds, whose values
    its text does not give. One version of its code has the filter commented out, the other tests H < ln N, where
    rounding decides about groups in which all answers differ. The bounds as shares of ln M are ours.
    """
    relative = entropy_nats / np.log(voters) if voters > 1 else 0.0
    return bool(low - ROUNDING <= relative <= high + ROUNDING)


def hardened(rewards: Doubles, is_mode: Present, dominant_shares: Doubles, hard_above: float) -> Doubles:
    """1 for the dominant answer and 0 for others where the dominant share is above `hard_above`; all [N].

    Source: the code of arXiv 2603.21289, with 0.85; a description of the paper has the share alone. In groups of up to
    6 only a unanimous one is above 0.85, and its share is 1 anyway.
    """
    return np.where(dominant_shares > hard_above, is_mode.astype(np.float64), rewards)


def judge_factors(scores: Doubles) -> Doubles:
    """g(s) = 1 + 0.2 sigmoid((s - 0.95) / 0.02) - 0.2 sigmoid((0.40 - s) / 0.05), in [0.8, 1.2]; s is in [0, 1].

    Source: the code of arXiv 2603.21289. It never reaches 1.2: g(1) = 1.185.
    """
    above = _sigmoid((scores - JUDGE_HIGH) / JUDGE_HIGH_WIDTH)
    below = _sigmoid((JUDGE_LOW - scores) / JUDGE_LOW_WIDTH)
    return 1.0 + JUDGE_GAIN * above - JUDGE_GAIN * below


def bounded(rewards: Doubles, factors: Doubles, penalties: Doubles) -> Doubles:
    """clip(reward * factor - penalty, 0, 1); all [N].

    Source: the code of arXiv 2603.21289, where the penalty of another form is 0.5. The code then takes the logarithm
    of a softmax over the group. That subtracts one number from all rewards of a group, which a group-relative advantage
    removes again and a moving baseline would not, so it is left out. An answer of the judge without a score counts as 0
    there; here it is a missing signal.
    """
    return np.clip(rewards * factors - penalties, 0.0, 1.0)


def signal_ratios(logarithms: Doubles) -> Doubles:
    """exp(l_i - max_j l_j) over the logarithms of a group, [N]; in [0, 1].

    Source: RLSC (arXiv 2506.06395) weights a sample by its probability p = exp(l), where l is the sum of the
    log-probabilities of its tokens; no file of the authors was found. For 200 tokens p can be below the smallest
    double, so it is divided by the largest one of the group. Ratios within a group, and advantages divided by the
    group's spread, remain those of the paper; the weight of one group against another does not. The paper's constant
    added to p is left out: it cancels under any baseline.
    """
    ratios: Doubles = np.exp(logarithms - logarithms.max())
    return ratios


def midpoint_reward(dominant_share: float) -> float:
    """1 - 2 |p - 1/2|, in [0, 1], where p is the dominant share.

    Source: R-Zero (arXiv 2508.05004) and VisPlay (arXiv 2511.15661, equation 5), without the share of alike questions
    that both subtract. Their code has min(p, 1 - p), which is half of it.
    """
    return 1.0 - 2.0 * abs(dominant_share - 0.5)


def _sigmoid(values: Doubles) -> Doubles:
    """1 / (1 + exp(-x)), which for large |x| does not overflow."""
    smooth: Doubles = 0.5 * (1.0 + np.tanh(0.5 * values))
    return smooth
