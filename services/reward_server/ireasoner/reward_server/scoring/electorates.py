"""Who judges each rollout of a group: its own view, all views, the other views, or another group."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement.trajectories import Steps
from ireasoner.reward_server.agreement.votes import Electorate
from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.answers.equivalence import cluster
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.scoring.pace import Pace
from ireasoner.reward_server.scoring.read_group import ReadGroup, copies, weights
from ireasoner.reward_server.scoring_config import ScoringConfig

_NO_VOTERS = "the config has another group judge this one, but it names none in `voters`"


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """The answers of a group's N rollouts, and who judges them.

    The answers are named as in the electorates: if answers are compared by value, one name is one value in both.
    Rollouts of one view have the same electorate: `electorate` counts it, or says why there is none. `work` is that of
    counting all of them, for `Pace.run`.
    """

    answers: Sequence[str | None]
    views: Sequence[str | None]
    electorate: Callable[[str | None], Electorate | str]
    work: int = 0


@dataclass(frozen=True, slots=True)
class _Voters:
    """Rollouts that can vote: the view, the answer and the folded steps of each (none if copies count in full)."""

    views: Sequence[str | None]
    answers: Sequence[str | None]
    copies: Sequence[Steps]

    def electorate(self, chosen: Sequence[int], config: ScoringConfig) -> Electorate:
        """The electorate of some of them."""
        answers = [self.answers[index] for index in chosen]
        steps = [self.copies[index] for index in chosen] if self.copies else ()
        counts = Counter(answer for answer in answers if answer is not None)
        return Electorate(counts, weights(answers, steps, config), len(chosen))


def check_voters(groups: Sequence[wire.Group]) -> None:
    """Refuses groups whose `voters` are missing, themselves, or a circle of three or more.

    Votes do not pass through a group that others judge, so no circle would be endless. Two groups that judge each other
    are the method of Co-rewarding; no method has a longer circle, so one is taken for a mistake.

    Raises MalformedRequest.
    """
    judges = {group.id: group.voters for group in groups}
    followed: set[str] = set()
    for index, group in enumerate(groups):
        if group.voters == group.id:
            raise _wrong(index, f"the group {group.id!r} cannot be its own voters; leave voters out")
        if group.voters is not None and group.voters not in judges:
            raise _wrong(index, f"there is no group {group.voters!r} in this request")
        circle = _circle(group.id, judges, followed)
        if circle > 2:
            raise _wrong(index, f"it leads into a circle of {circle} groups; only two may judge each other")


def _wrong(index: int, reason: str) -> MalformedRequest:
    return MalformedRequest.at(f"groups[{index}].voters", reason)


def _circle(start: str, judges: Mapping[str, str | None], followed: set[str]) -> int:
    """How many groups are in the circle that `start` leads into; 0 if none is.

    Groups in `followed` were followed before, and the groups on the way are added to it.
    """
    steps: dict[str, int] = {}
    at: str | None = start
    while at is not None and at not in followed and at not in steps:
        steps[at] = len(steps)
        at = judges.get(at)
    followed.update(steps)
    return len(steps) - steps[at] if at in steps else 0


async def judged_answers(
    group: ReadGroup,
    voters: ReadGroup | None,
    config: ScoringConfig,
    comparer: ExpressionComparer,
    pace: Pace,
) -> JudgedAnswers:
    """The electorates of a group's rollouts; `voters` is the group that it names. Raises FormulasUnavailable."""
    answers = [rollout.answer for rollout in group.rollouts]
    views = [rollout.view for rollout in group.sent.rollouts]
    if config.votes == "voters" and voters is None:
        return JudgedAnswers(answers, [None] * len(answers), lambda _: _NO_VOTERS)
    is_split = config.votes == "cross" or (config.votes == "own" and len(set(views)) > 1)
    if voters is None and not is_split:
        return JudgedAnswers(answers, [None] * len(answers), lambda _: group.electorate)
    source = voters or group
    own, other = answers, [rollout.answer for rollout in source.rollouts]
    if voters is not None and config.equivalence == "value":
        written = [each.written for read in (group, voters) for each in read.rollouts]
        names = (await cluster(written, config, comparer)).names
        own, other = names[: len(answers)], names[len(answers) :]
    folded = await pace.run(source.size, partial(copies, source.rollouts, config))
    known = _Voters([rollout.view for rollout in source.sent.rollouts], other, folded)
    return JudgedAnswers(own, views, partial(_electorate_of, known, config), len(set(views)) * len(other))


def _electorate_of(voters: _Voters, config: ScoringConfig, view: str | None) -> Electorate | str:
    """The electorate of the rollouts of one view, or why there is none."""
    match config.votes:
        case "own":
            chosen = [index for index, each in enumerate(voters.views) if each == view]
            who = "of the same view"
        case "cross":
            chosen = [index for index, each in enumerate(voters.views) if each != view]
            who = "of another view"
        case _:
            chosen, who = list(range(len(voters.views))), "of the group that judges"
    if not chosen:
        return f"there is no rollout {who}"
    electorate = voters.electorate(chosen, config)
    return electorate if electorate.counts else f"no rollout {who} has an answer"
