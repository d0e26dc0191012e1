"""What the reward server gets of a Solver's groups besides texts, as far as the scoring config needs it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ireasoner.clients import ScoredGroup
from ireasoner.trainer.loop.judging import Judgement, Judging
from ireasoner.trainer.loop.sampler import Policies
from ireasoner.trainer.loop.signal_pass import SignalPass
from ireasoner.trainer.loop.voters import Voters, VotingGroup
from ireasoner.trainer.rewards.group_scorer import GroupToScore
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.rewards.signals import JUDGE, signals_of
from ireasoner.trainer.rollouts.group import Group


@dataclass(slots=True)
class GroupInputs:
    """The inputs of one group.

    Attributes:
        signals: The signals of each rollout, by name.
        judgements: What a judge said of each rollout; empty without a judge.
        voters: The group whose votes judge this one; None if there is none.
    """

    signals: list[dict[str, float]]
    judgements: list[Judgement]
    voters: VotingGroup | None

    def add_to(self, posted: GroupToScore) -> GroupToScore:
        """The group as the reward server gets it."""
        voters = None
        if self.voters is not None:
            voters = replace(
                posted,
                rollouts=self.voters.rollouts,
                question=self.voters.question,
                views=None,
                answers_in_view=None,
                is_rewarded=self.voters.is_judged,
            )
        return replace(posted, signals=self.signals, voters=voters)

    def record(self, group: Group, of_voters: Iterator[ScoredGroup]) -> None:
        """Adds the inputs to the group's entry in `groups.jsonl`.

        Args:
            group: The group.
            of_voters: The scores of the voting groups, of which it takes its own.
        """
        rollouts = group.record["rollouts"]
        for rollout, signals in zip(rollouts, self.signals, strict=True):
            if signals:
                rollout["signals"] = signals
        for rollout, judgement in zip(rollouts, self.judgements, strict=False):
            rollout["judgement"] = judgement.record
        if self.voters is not None:
            dominant = next(of_voters).dominant_answer
            group.record["voters"] = {**self.voters.record, "dominant_answer": dominant}


@dataclass(frozen=True, slots=True)
class SolverInputs:
    """Measures and samples what the scoring config needs, and nothing else.

    Attributes:
        needs: What it needs.
        signal_pass: Measures the distributions that tokens were sampled from; None if none are needed.
        judging: Samples judgements; None if none are needed.
        voters: Samples voting groups; None if none are needed.
    """

    needs: Needs
    signal_pass: SignalPass | None = None
    judging: Judging | None = None
    voters: Voters | None = None

    @property
    def takes_time(self) -> bool:
        """Whether anything is measured or sampled after the rollouts."""
        return any(each is not None for each in (self.signal_pass, self.judging, self.voters))

    def of(self, groups: Sequence[Group], update: int, policies: Policies) -> list[GroupInputs]:
        """The inputs of each group of an update, in order.

        Raises:
            RolloutServerError: The rollout server refused, or was unreachable for longer than the budget.
        """
        judged = [[]] * len(groups) if self.judging is None else self.judging.of(groups, update)
        voters = [None] * len(groups) if self.voters is None else self.voters.of(groups, update, policies)
        return [
            GroupInputs(self._signals(group, judgements), judgements, voting)
            for group, judgements, voting in zip(groups, judged, voters, strict=True)
        ]

    def _signals(self, group: Group, judgements: Sequence[Judgement]) -> list[dict[str, float]]:
        if self.signal_pass is not None:
            rollouts = iter(group.rollouts)
            group.rollouts = [
                measured
                for prompt in group.prompts
                for measured in self.signal_pass.measured(prompt, list(islice(rollouts, prompt.count)))
            ]
        signals = [signals_of(rollout, self.needs.of_policy) for rollout in group.rollouts]
        for own, judgement in zip(signals, judgements, strict=False):
            if judgement.score is not None:
                own[JUDGE] = judgement.score
        return signals
