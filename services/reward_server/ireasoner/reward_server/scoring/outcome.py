"""The outcome rewards of a request's groups: from votes or a signal, with their components by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement import outcomes
from ireasoner.reward_server.agreement.alignment import Doubles
from ireasoner.reward_server.scoring.read_group import ReadGroup
from ireasoner.reward_server.scoring.standings import Standings
from ireasoner.reward_server.scoring_config import ScoringConfig

JUDGE = "judge"
"""The signal that `judge` bounded reads."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome rewards of a group, [N], and what they were computed from; NaN where there is none.

    `reasons` says why a rollout has no reward; it is None where it has one.
    """

    rewards: Doubles
    components: Mapping[str, Doubles]
    reasons: Sequence[str | None]

    def part(self, span: slice) -> "Outcome":
        """The outcome of some of the rollouts."""
        components = {name: values[span] for name, values in self.components.items()}
        return Outcome(self.rewards[span], components, self.reasons[span])


def outcomes_of(
    groups: Sequence[ReadGroup], standings: Sequence[Standings], config: ScoringConfig
) -> Iterator[Outcome]:
    """The outcome of each group by its votes, computed for all groups at once."""
    whole = _of_votes(groups, standings, config)
    for start, end in pairwise(accumulate((len(group.rollouts) for group in groups), initial=0)):
        yield whole.part(slice(start, end))


def outcome_of_signal(group: ReadGroup, config: ScoringConfig) -> Outcome:
    """The outcome of a group by a signal, whatever its answers."""
    name = config.signal
    signal = _signals(group, name)
    known = ~np.isnan(signal)
    reasons = [None if is_known else _missing(name) for is_known in known.tolist()]
    rewards = -signal + 0.0 if config.signal_as == "minus" else signal
    if config.signal_as == "ratio":
        rewards = np.full(len(signal), np.nan)
        if known.sum() > 1:
            rewards[known] = outcomes.signal_ratios(signal[known])
        else:
            reasons = [reason or f"no other rollout has the signal {name!r}" for reason in reasons]
    return Outcome(rewards, {name: signal}, reasons)


def _of_votes(groups: Sequence[ReadGroup], standings: Sequence[Standings], config: ScoringConfig) -> Outcome:
    is_mode = np.concatenate([each.is_mode for each in standings])
    if config.outcome == "majority":
        consensus = outcomes.majority_rewards(is_mode, np.concatenate([each.modes for each in standings]))
    else:
        shares = np.concatenate([each.shares for each in standings])
        consensus = agreement.share_rewards(shares, config)
        if config.hard_above < 1:
            dominant = np.concatenate([each.dominant_shares for each in standings])
            consensus = outcomes.hardened(consensus, is_mode, dominant, config.hard_above)
    reasons = [reason for each in standings for reason in each.why_not]
    rewards, components = consensus, {"consensus": consensus}
    if config.eta:
        words = np.array([rollout.words for group in groups for rollout in group.rollouts], np.float64)
        components["length"] = agreement.length_factors(words, config)
        rewards = rewards * components["length"]
    if config.judge == "bounded" or config.format_penalty:
        rewards = _bounded(rewards, components, reasons, groups, config)
    flawed = [rollout.flaw is not None for group in groups for rollout in group.rollouts]
    return _with_abstentions(Outcome(rewards, components, reasons), np.array(flawed))


def _bounded(
    rewards: Doubles,
    components: dict[str, Doubles],
    reasons: list[str | None],
    groups: Sequence[ReadGroup],
    config: ScoringConfig,
) -> Doubles:
    """The rewards after judge and format, which are added to `components`; a missing judge is added to `reasons`."""
    factors, penalties = np.ones(len(rewards)), np.zeros(len(rewards))
    if config.judge == "bounded":
        scores = np.concatenate([_signals(group, JUDGE) for group in groups])
        for index in np.flatnonzero(~((scores >= 0) & (scores <= 1))):
            known = f"the signal {JUDGE!r} is {scores[index]:g}, not 0 to 1"
            reasons[index] = reasons[index] or (_missing(JUDGE) if np.isnan(scores[index]) else known)
        components["judge"] = factors = outcomes.judge_factors(scores)
    if config.format_penalty:
        unformed = [index in group.unformed for group in groups for index in range(len(group.rollouts))]
        components["format"] = penalties = np.where(unformed, config.format_penalty, 0.0)
    return outcomes.bounded(rewards, factors, penalties)


def _with_abstentions(outcome: Outcome, flawed: np.typing.NDArray[np.bool_]) -> Outcome:
    """The outcome with 0 for rollouts without an answer, and NaN for others that have a reason not to be judged."""
    reasons = [None if flaw else why for flaw, why in zip(flawed.tolist(), outcome.reasons, strict=True)]
    abstained = np.array([reason is not None for reason in reasons])
    rewards = np.where(flawed, 0.0, np.where(abstained, np.nan, outcome.rewards))
    return Outcome(rewards, outcome.components, reasons)


def _signals(group: ReadGroup, name: str) -> Doubles:
    """A signal of each rollout, [N]; NaN where it was not sent."""
    return np.array([(rollout.signals or {}).get(name, np.nan) for rollout in group.sent.rollouts])


def _missing(name: str) -> str:
    return f"the signal {name!r} is missing"
