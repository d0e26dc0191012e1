"""A group as it was read: what each rollout says, how its answers add up, and who is to be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.trajectories import Camp, Steps, distinct
from ireasoner.reward_server.agreement.votes import Vote, count_votes
from ireasoner.reward_server.answers.equivalence import Member, cluster
from ireasoner.reward_server.answers.formulas import ExpressionComparer
from ireasoner.reward_server.parsing.rollout import ParsedRollout, parse_text, parsed_before
from ireasoner.reward_server.scoring.pace import Pace
from ireasoner.reward_server.scoring_config import ScoringConfig


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """One group. `camps` are the rollouts whose steps are judged, by answer; `tied` is what they share by.

    `members` tells how each answer was written if answers were clustered by value, and `not_compared` what
    could not be. Without `has_consensus` no rollout earns anything.
    """

    sent: wire.Group
    rollouts: list[ParsedRollout]
    vote: Vote
    camps: list[Camp]
    tied: int
    has_consensus: bool
    members: Mapping[str, tuple[Member, ...]] | None
    not_compared: tuple[str, ...]

    @property
    def judged_steps(self) -> list[str]:
        """The steps of all camps, camp by camp and rollout by rollout."""
        return [step for camp in self.camps for steps in camp.steps for step in steps]

    def effective_share(self, answer: str | None) -> float:
        """w(a) p(a), by which every reward of a rollout with this answer is computed; 0 for None."""
        return self.vote.weighed_share(answer) if self.has_consensus else 0.0

    def effective_shares(self) -> list[float]:
        """`effective_share` of each rollout's answer."""
        shares = {answer: self.effective_share(answer) for answer, _ in self.vote.clusters}
        return [0.0 if rollout.answer is None else shares[rollout.answer] for rollout in self.rollouts]


async def read_group(
    group: wire.Group, config: ScoringConfig, comparer: ExpressionComparer, pace: Pace
) -> ReadGroup:
    """Reads and counts one group; `comparer` is asked about formulas. Raises FormulasUnavailable."""
    rollouts = []
    for rollout in group.rollouts:
        if pace.is_due:
            await pace.rest()
        rollouts.append(_read(rollout, config))
    members: Mapping[str, tuple[Member, ...]] | None = None
    not_compared: tuple[str, ...] = ()
    if config.equivalence == "value":
        clusters = await cluster([each.written for each in rollouts], config, comparer)
        rollouts = [each._replace(answer=name) for each, name in zip(rollouts, clusters.names, strict=True)]
        members, not_compared = clusters.members, clusters.not_compared
    vote = count_votes([rollout.answer for rollout in rollouts], _weights(rollouts, config))
    judged = vote.clusters[: vote.tied if config.ties == "shared" else 1]
    has_consensus = agreement.has_consensus(vote.share(vote.dominant), config)
    camps = [
        _camp(answer, rollouts) for answer, count in judged if has_consensus and count >= config.min_dominant
    ]
    return ReadGroup(group, rollouts, vote, camps, len(judged), has_consensus, members, not_compared)


def _weights(rollouts: Sequence[ParsedRollout], config: ScoringConfig) -> dict[str, float]:
    """w(a) of each answer; empty where all are 1."""
    if config.distinct_exponent == 0:
        return {}
    said: dict[str, list[Steps]] = {}
    for rollout in rollouts:
        if rollout.answer is not None:
            said.setdefault(rollout.answer, []).append(rollout.steps)
    return {
        answer: agreement.consensus_weight(distinct(steps), len(steps), config)
        for answer, steps in said.items()
    }


def _read(rollout: wire.Rollout, config: ScoringConfig) -> ParsedRollout:
    if rollout.text is not None:
        parsed = parse_text(rollout.text, config)
    else:
        parsed = parsed_before(rollout.answer, rollout.steps or (), config)
    return parsed.limited_to(config.max_steps)


def _camp(answer: str, rollouts: list[ParsedRollout]) -> Camp:
    members = [index for index, rollout in enumerate(rollouts) if rollout.answer == answer]
    return Camp.of(members, [rollouts[index].steps for index in members])
