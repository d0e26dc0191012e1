"""A group as it was read: what each rollout says, how its answers add up, and who is to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.reward_server import agreement, wire
from services.reward_server.equivalence import Member, cluster
from services.reward_server.expressions import ExpressionComparer
from services.reward_server.pace import Pace
from services.reward_server.parsing import ParsedRollout, parse_text, parsed_before
from services.reward_server.scoring_config import ScoringConfig
from services.reward_server.trajectories import Camp, distinct
from services.reward_server.votes import Vote, count_votes


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """One group. `camps` are the rollouts whose steps are judged, by answer; `tied` is what they share by.

    `members` tells how each answer was written if answers were clustered by value, and `not_compared` what
    could not be. `consensus` weighs each answer's share; an answer that is not in it weighs 1.
    """

    sent: wire.Group
    rollouts: list[ParsedRollout]
    vote: Vote
    camps: list[Camp]
    tied: int
    consensus: Mapping[str, float]
    members: Mapping[str, tuple[Member, ...]] | None
    not_compared: tuple[str, ...]

    @property
    def judged_steps(self) -> list[str]:
        """The steps of all camps, camp by camp and rollout by rollout."""
        return [step for camp in self.camps for steps in camp.steps for step in steps]

    def effective_share(self, answer: str | None) -> float:
        """p(a) times the answer's consensus weight; 0 for None."""
        return self.vote.share(answer) * (1.0 if answer is None else self.consensus.get(answer, 1.0))

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
    vote = count_votes([rollout.answer for rollout in rollouts])
    judged = vote.clusters[:1]
    if config.ties == "shared":
        judged = tuple(each for each in vote.clusters if each[1] == vote.clusters[0][1])
    camps = [_camp(answer, rollouts) for answer, count in judged if count >= config.min_dominant]
    consensus = {}
    if config.distinct_exponent > 0:
        for answer, count in vote.clusters:
            ways = distinct([each.steps for each in rollouts if each.answer == answer])
            consensus[answer] = agreement.consensus_weight(ways, count, config)
    if not agreement.has_consensus(vote.share(vote.dominant), config):
        camps = []
        consensus = dict.fromkeys((answer for answer, _ in vote.clusters), 0.0)
    return ReadGroup(group, rollouts, vote, camps, len(judged), consensus, members, not_compared)


def _read(rollout: wire.Rollout, config: ScoringConfig) -> ParsedRollout:
    if rollout.text is not None:
        parsed = parse_text(rollout.text, config)
    else:
        parsed = parsed_before(rollout.answer, rollout.steps or (), config)
    return parsed.limited_to(config.max_steps)


def _camp(answer: str, rollouts: list[ParsedRollout]) -> Camp:
    members = [index for index, rollout in enumerate(rollouts) if rollout.answer == answer]
    return Camp.of(members, [rollouts[index].steps for index in members])
