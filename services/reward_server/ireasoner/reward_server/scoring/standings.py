"""What the votes say of the answers of one group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement import outcomes
from ireasoner.reward_server.agreement.alignment import Doubles, Present
from ireasoner.reward_server.agreement.votes import Electorate
from ireasoner.reward_server.scoring.electorates import JudgedAnswers
from ireasoner.reward_server.scoring_config import ScoringConfig


@dataclass(frozen=True, slots=True)
class Standings:
    """What the votes say of the answers of N rollouts; all are [N].

    `shares` is w(a) p(a), 0 for a rollout without an answer and without consensus. `is_mode` says whether the answer is
    one of the `modes` most frequent ones, of which each of them has `dominant_shares`. `why_not` is why the electorate
    judges no answer; None if it does.
    """

    shares: Doubles
    is_mode: Present
    modes: Doubles
    dominant_shares: Doubles
    why_not: Sequence[str | None]


def standings_of(judged: JudgedAnswers, config: ScoringConfig) -> Standings:
    """Counts the electorates of a group one after another."""
    count = len(judged.answers)
    shares, modes, dominant = np.zeros(count), np.zeros(count), np.zeros(count)
    is_mode = np.zeros(count, bool)
    why_not: list[str | None] = [None] * count
    members: dict[str | None, list[int]] = {}
    for index, view in enumerate(judged.views):
        members.setdefault(view, []).append(index)
    for view, indices in members.items():
        electorate = judged.electorate(view)
        answers = [judged.answers[index] for index in indices]
        if isinstance(electorate, str) or not electorate.counts:
            reason = electorate if isinstance(electorate, str) else None
        else:
            best = electorate.modes()
            dominant[indices] = share = max(map(electorate.share, best))
            reason = _why_not(electorate, best, config)
            if agreement.has_consensus(share, config):
                known = {answer: electorate.weighted_share(answer) for answer in set(answers)}
                shares[indices] = [known[answer] for answer in answers]
                is_mode[indices] = [answer in best for answer in answers]
                modes[indices] = len(best)
        for index in indices:
            why_not[index] = reason
    return Standings(shares, is_mode, modes, dominant, why_not)


def _why_not(electorate: Electorate, modes: Sequence[str], config: ScoringConfig) -> str | None:
    """Why these votes judge no answer under the config; None if they do."""
    count = electorate.counts[modes[0]]
    if config.label == "unique_mode" and not outcomes.has_unique_mode(count, len(modes)):
        return "no single answer has the most votes and at least two"
    if config.entropy_low > 0 or config.entropy_high < 1:
        shares = np.array([count / electorate.size for count in electorate.counts.values()])
        entropy_nats = agreement.answer_entropy_nats(shares)
        if not outcomes.is_within(entropy_nats, electorate.size, config.entropy_low, config.entropy_high):
            return "the entropy of the votes is outside of the config's bounds"
    return None
