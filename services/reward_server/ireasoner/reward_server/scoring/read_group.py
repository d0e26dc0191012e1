"""A group as it was read: what each rollout says, how its answers add up, and which steps are compared."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.trajectories import AnswerCluster, Steps, distinct
from ireasoner.reward_server.agreement.votes import Vote, count_votes
from ireasoner.reward_server.answers.equivalence import Member, cluster
from ireasoner.reward_server.answers.formulas import ExpressionComparer
from ireasoner.reward_server.parsing.rollout import ParsedRollout, parse_text, parsed_before
from ireasoner.reward_server.scoring_config import ScoringConfig

TURN_S = 0.005


class Pace:
    """Gives the event loop to other tasks whenever the task that holds this has had it for TURN_S.

    The task runs `if pace.is_due: await pace.rest()` wherever it can be interrupted.
    """

    def __init__(self) -> None:
        self._until_s = time.monotonic() + TURN_S

    @property
    def is_due(self) -> bool:
        """Whether other tasks should run now."""
        return time.monotonic() >= self._until_s

    async def rest(self) -> None:
        """Returns after every task that was ready has run."""
        await asyncio.sleep(0)
        self._until_s = time.monotonic() + TURN_S


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """One group, parsed and counted.

    `dominant_clusters` have their steps compared: the cluster of the dominant answer, or with `ties` shared those
    of all tied answers, if they are large enough. `tied` is the number of answers that share the step reward.
    Without `has_consensus` no rollout earns anything. If answers were clustered by value, `members` lists how each
    was written, and `not_compared` the formulas that could not be compared.
    """

    sent: wire.Group
    rollouts: list[ParsedRollout]
    vote: Vote
    dominant_clusters: list[AnswerCluster]
    tied: int
    has_consensus: bool
    members: Mapping[str, tuple[Member, ...]] | None
    not_compared: tuple[str, ...]

    @property
    def compared_steps(self) -> list[str]:
        """The steps of the dominant clusters, cluster by cluster and rollout by rollout."""
        return [step for cluster in self.dominant_clusters for steps in cluster.steps for step in steps]

    def effective_share(self, answer: str | None) -> float:
        """w(a) p(a), from which every reward of a rollout with this answer is computed; 0 for None."""
        return self.vote.weighted_share(answer) if self.has_consensus else 0.0

    def effective_shares(self) -> list[float]:
        """`effective_share` of each rollout's answer."""
        shares = {answer: self.effective_share(answer) for answer, _ in self.vote.clusters}
        return [0.0 if rollout.answer is None else shares[rollout.answer] for rollout in self.rollouts]


async def read_group(
    group: wire.Group, config: ScoringConfig, comparer: ExpressionComparer, pace: Pace
) -> ReadGroup:
    """Parses and counts one group; `comparer` compares formulas. Raises FormulasUnavailable."""
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
    sharing = vote.clusters[: vote.tied if config.ties == "shared" else 1]
    has_consensus = agreement.has_consensus(vote.share(vote.dominant), config)
    clusters_to_compare = [
        _cluster(answer, rollouts)
        for answer, count in sharing
        if has_consensus and count >= config.min_position_members
    ]
    return ReadGroup(
        group, rollouts, vote, clusters_to_compare, len(sharing), has_consensus, members, not_compared
    )


def _weights(rollouts: Sequence[ParsedRollout], config: ScoringConfig) -> dict[str, float]:
    """w(a) of each answer; empty if all are 1."""
    if config.distinct_exponent == 0:
        return {}
    trajectories: dict[str, list[Steps]] = {}
    for rollout in rollouts:
        if rollout.answer is not None:
            trajectories.setdefault(rollout.answer, []).append(rollout.steps)
    return {
        answer: agreement.consensus_weight(distinct(steps), len(steps), config)
        for answer, steps in trajectories.items()
    }


def _read(rollout: wire.Rollout, config: ScoringConfig) -> ParsedRollout:
    if rollout.text is not None:
        return parse_text(rollout.text, config, rollout.finish_reason)
    return parsed_before(rollout.answer, rollout.steps or (), config)


def _cluster(answer: str, rollouts: list[ParsedRollout]) -> AnswerCluster:
    members = [index for index, rollout in enumerate(rollouts) if rollout.answer == answer]
    return AnswerCluster.of(members, [rollouts[index].steps for index in members])
