"""The outcome rewards of a request's groups: from votes or a signal, with their components by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement import outcomes
from ireasoner.reward_server.agreement.alignment import Doubles
from ireasoner.reward_server.agreement.votes import Electorate
from ireasoner.reward_server.scoring.electorates import JudgedAnswers
from ireasoner.reward_server.scoring.read_group import ReadGroup
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


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the votes of one electorate say of answers; `why_not` is why they judge none."""

    shares: Mapping[str, float]
    modes: frozenset[str]
    dominant_share: float
    why_not: str | None


_NO_STANDING = _Standing({}, frozenset(), 0.0, None)


def outcomes_of(
    groups: Sequence[ReadGroup], judged: Sequence[JudgedAnswers], config: ScoringConfig
) -> Iterator[Outcome]:
    """The outcome of each group, computed for all groups at once."""
    if config.outcome == "signal":
        yield from (_of_signal(group, config) for group in groups)
        return
    whole = _of_votes(groups, judged, config)
    for start, end in pairwise(accumulate((len(group.rollouts) for group in groups), initial=0)):
        yield whole.part(slice(start, end))


def _of_signal(group: ReadGroup, config: ScoringConfig) -> Outcome:
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


def _of_votes(groups: Sequence[ReadGroup], judged: Sequence[JudgedAnswers], config: ScoringConfig) -> Outcome:
    pairs = [pair for each in judged for pair in _with_standings(each, config)]
    shares = np.array([standing.shares.get(answer or "", 0.0) for answer, standing in pairs])
    is_mode = np.array([answer in standing.modes for answer, standing in pairs])
    if config.outcome == "majority":
        modes = np.array([len(standing.modes) for _, standing in pairs], np.float64)
        consensus = outcomes.majority_rewards(is_mode, modes)
    else:
        consensus = agreement.share_rewards(shares, config)
        if config.hard_above < 1:
            dominant = np.array([standing.dominant_share for _, standing in pairs])
            consensus = outcomes.hardened(consensus, is_mode, dominant, config.hard_above)
    reasons = [standing.why_not for _, standing in pairs]
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


def _with_standings(judged: JudgedAnswers, config: ScoringConfig) -> Iterator[tuple[str | None, _Standing]]:
    standings: dict[int, _Standing] = {}
    for answer, electorate in zip(judged.answers, judged.electorates, strict=True):
        if id(electorate) not in standings:
            standings[id(electorate)] = _standing(electorate, config)
        yield answer, standings[id(electorate)]


def _standing(electorate: Electorate | str, config: ScoringConfig) -> _Standing:
    if isinstance(electorate, str):
        return _Standing({}, frozenset(), 0.0, electorate)
    if not electorate.counts:
        return _NO_STANDING
    modes = electorate.modes()
    dominant_share = max(map(electorate.share, modes))
    why_not = _why_not(electorate, modes, config)
    if not agreement.has_consensus(dominant_share, config):
        return _Standing({}, frozenset(), dominant_share, why_not)
    shares = {answer: electorate.weighted_share(answer) for answer in electorate.counts}
    return _Standing(shares, frozenset(modes), dominant_share, why_not)


def _why_not(electorate: Electorate, modes: Sequence[str], config: ScoringConfig) -> str | None:
    """Why these votes judge no answer under the config; None if they do."""
    if config.label == "unique_mode" and not outcomes.has_unique_mode(
        electorate.counts[modes[0]], len(modes)
    ):
        return "no single answer has the most votes and at least two"
    if config.entropy_low > 0 or config.entropy_high < 1:
        shares = np.array([count / electorate.size for count in electorate.counts.values()])
        entropy_nats = agreement.answer_entropy_nats(shares)
        if not outcomes.is_within(entropy_nats, electorate.size, config.entropy_low, config.entropy_high):
            return "the entropy of the votes is outside of the config's bounds"
    return None


def _signals(group: ReadGroup, name: str) -> Doubles:
    """A signal of each rollout, [N]; NaN where it was not sent."""
    return np.array([(rollout.signals or {}).get(name, np.nan) for rollout in group.sent.rollouts])


def _missing(name: str) -> str:
    return f"the signal {name!r} is missing"
