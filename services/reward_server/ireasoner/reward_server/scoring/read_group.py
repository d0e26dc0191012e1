"""A group as it was read: what each rollout says, how its answers add up, and which steps are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.alignment import Slots
from ireasoner.reward_server.agreement.trajectories import AnswerCluster, Steps, folded
from ireasoner.reward_server.agreement.votes import Electorate, Vote, count_votes
from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.answers.equivalence import Member, cluster
from ireasoner.reward_server.parsing.rollout import ParsedRollout, follows_format, parse_text, parsed_before
from ireasoner.reward_server.scoring.pace import SLOWEST_STEP_CHARACTERS, STEP_CHARACTERS, Pace
from ireasoner.reward_server.scoring_config import ScoringConfig


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """One group, parsed and counted.

    `compared` are the clusters whose steps are compared, each with itself: that of the dominant answer, with `ties`
    shared those of all tied answers, or with `step_scope` group one of all rollouts with an answer; if they are large
    enough. `tied` is the number of answers that share the step reward.
    `distinct_steps` are the texts of all their U distinct steps, `step_rows` [S] says which of these each step is,
    cluster by cluster and rollout by rollout.
    Without `has_consensus` no rollout earns anything. If answers were clustered by value, `members` lists how each
    was written, and `not_compared` the formulas that could not be compared. `unformed` are the indices of the rollouts
    whose text does not follow the format, if the config asks for it.
    """

    sent: wire.Group
    rollouts: list[ParsedRollout]
    vote: Vote
    compared: list[AnswerCluster]
    distinct_steps: list[str]
    step_rows: Slots
    tied: int
    has_consensus: bool
    members: Mapping[str, tuple[Member, ...]] | None
    not_compared: tuple[str, ...]
    unformed: frozenset[int]

    @property
    def steps(self) -> int:
        """The steps of all rollouts."""
        return sum(len(rollout.steps) for rollout in self.rollouts)

    @property
    def step_characters(self) -> int:
        """The characters of all steps."""
        return sum(sum(map(len, rollout.steps)) for rollout in self.rollouts)

    @property
    def size(self) -> int:
        """Its work for `Pace.run`."""
        return max(self.steps, self.step_characters // STEP_CHARACTERS)

    def effective_share(self, answer: str | None) -> float:
        """w(a) p(a), from which every reward of a rollout with this answer is computed; 0 for None."""
        return self.vote.weighted_share(answer) if self.has_consensus else 0.0

    def compared_share(self, answer: str | None, config: ScoringConfig) -> float:
        """The share behind the density of the step rewards of rollouts with this answer.

        It is the answer's `effective_share`, or with `step_scope` group the share of all rollouts with an answer.
        """
        if config.step_scope == "group" and self.has_consensus:
            return _answered(self.vote) / self.vote.size
        return self.effective_share(answer)

    @property
    def electorate(self) -> Electorate:
        """All of the group's votes."""
        return Electorate(dict(self.vote.clusters), self.vote.weights, self.vote.size)


async def read_group(
    group: wire.Group, config: ScoringConfig, comparer: ExpressionComparer, pace: Pace
) -> ReadGroup:
    """Parses and counts one group; `comparer` compares formulas. Raises FormulasUnavailable."""
    characters = [_characters(rollout) for rollout in group.rollouts]
    rollouts = [
        await pace.run(size // SLOWEST_STEP_CHARACTERS, partial(_read, rollout, config))
        for size, rollout in zip(characters, group.rollouts, strict=True)
    ]
    unformed = set()
    if config.format_penalty:
        for index, rollout in enumerate(group.rollouts):
            check = partial(_is_formed, rollout, config)
            if not await pace.run(characters[index] // SLOWEST_STEP_CHARACTERS, check):
                unformed.add(index)
    members: Mapping[str, tuple[Member, ...]] | None = None
    not_compared: tuple[str, ...] = ()
    if config.equivalence == "value":
        clusters = await cluster([each.written for each in rollouts], config, comparer)
        rollouts = [each._replace(answer=name) for each, name in zip(rollouts, clusters.names, strict=True)]
        members, not_compared = clusters.members, clusters.not_compared
    steps = sum(len(rollout.steps) for rollout in rollouts)
    return await pace.run(
        max(steps, sum(characters) // STEP_CHARACTERS),
        lambda: _counted(group, rollouts, config, members, not_compared, frozenset(unformed)),
    )


def _counted(
    group: wire.Group,
    rollouts: list[ParsedRollout],
    config: ScoringConfig,
    members: Mapping[str, tuple[Member, ...]] | None,
    not_compared: tuple[str, ...],
    unformed: frozenset[int],
) -> ReadGroup:
    """Counts the votes of a group, and lists the steps to compare."""
    answers = [rollout.answer for rollout in rollouts]
    vote = count_votes(answers, weights(answers, copies(rollouts, config), config))
    sharing = _sharing(vote, config)
    has_consensus = agreement.has_consensus(vote.share(vote.dominant), config)
    to_compare = [
        _cluster(shared, rollouts)
        for shared, count in sharing
        if has_consensus and count >= config.min_position_members
    ]
    numbers: dict[str, int] = {}
    compared = (step for each in to_compare for steps in each.steps for step in steps)
    rows = np.fromiter((numbers.setdefault(step, len(numbers)) for step in compared), np.intp)
    return ReadGroup(
        group,
        rollouts,
        vote,
        to_compare,
        list(numbers),
        rows,
        len(sharing),
        has_consensus,
        members,
        not_compared,
        unformed,
    )


def _sharing(vote: Vote, config: ScoringConfig) -> list[tuple[set[str], int]]:
    """The sets of answers whose rollouts are compared with each other, and the number of their rollouts."""
    if config.step_scope == "group":
        return [({answer for answer, _ in vote.clusters}, _answered(vote))]
    return [
        ({answer}, count) for answer, count in vote.clusters[: vote.tied if config.ties == "shared" else 1]
    ]


def _answered(vote: Vote) -> int:
    """The number of rollouts with an answer."""
    return sum(count for _, count in vote.clusters)


def _characters(rollout: wire.Rollout) -> int:
    if rollout.text is not None:
        return len(rollout.text) + len(rollout.answer_in_view or "")
    return len(rollout.answer or "") + sum(map(len, rollout.steps or ()))


def copies(rollouts: Sequence[ParsedRollout], config: ScoringConfig) -> list[Steps]:
    """What the rollouts' steps have in common with copies of them, one by one; empty if copies count in full."""
    return folded([rollout.steps for rollout in rollouts]) if config.distinct_exponent else []


def weights(
    answers: Sequence[str | None], trajectories: Sequence[Steps], config: ScoringConfig
) -> dict[str, float]:
    """w(a) of each answer, from the `copies` of the rollouts that gave them; empty if all are 1."""
    if config.distinct_exponent == 0:
        return {}
    by_answer: dict[str, list[Steps]] = {}
    for answer, steps in zip(answers, trajectories, strict=True):
        if answer is not None:
            by_answer.setdefault(answer, []).append(steps)
    return {
        answer: agreement.consensus_weight(len(set(steps)), len(steps), config)
        for answer, steps in by_answer.items()
    }


def _is_formed(rollout: wire.Rollout, config: ScoringConfig) -> bool:
    return rollout.text is None or follows_format(rollout.text, config, rollout.finish_reason)


def _read(rollout: wire.Rollout, config: ScoringConfig) -> ParsedRollout:
    if rollout.text is not None:
        return parse_text(rollout.text, config, rollout.finish_reason, rollout.answer_in_view)
    return parsed_before(rollout.answer, rollout.steps or (), config)


def _cluster(answers: set[str], rollouts: list[ParsedRollout]) -> AnswerCluster:
    members = [index for index, rollout in enumerate(rollouts) if rollout.answer in answers]
    return AnswerCluster.of(members, [rollouts[index].steps for index in members])
