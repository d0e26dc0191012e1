"""Groups that judge the Solver's answers by their votes: answers to a paraphrase, or those of a slow teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ireasoner.trainer.loop.paraphrases import ReadQuestion, paraphrases
from ireasoner.trainer.loop.sampler import Policies, Sampler
from ireasoner.trainer.loop.seeds import Seeds, Stream
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import Role, RunSettings


@dataclass(frozen=True, slots=True)
class VotingGroup:
    """Rollouts that judge a group; none of them is trained.

    Attributes:
        question: The question that they answer.
        rollouts: The rollouts.
        is_judged: Whether the judged group judges it in turn, for the logs.
    """

    question: str
    rollouts: list[Rollout]
    is_judged: bool

    @property
    def record(self) -> dict[str, Any]:
        """Its part of the group's entry in `groups.jsonl`."""
        return {
            "question": self.question,
            "rollouts": [
                {"text": rollout.text, "policy": rollout.policy, "seed": rollout.seed}
                for rollout in self.rollouts
            ],
        }


class Voters:
    """Samples voting groups, of as many rollouts as the groups that they judge.

    Args:
        settings: The run; `reward.voters` says who judges.
        sampler: The rollout server.
        seeds: The seeds of the run.
        contracts: How each role is sampled.
        question: Returns the question in a completion that asks one; None if there is none that may be asked.
    """

    def __init__(
        self,
        settings: RunSettings,
        sampler: Sampler,
        seeds: Seeds,
        contracts: Mapping[Role, SamplingContract],
        question: ReadQuestion,
    ) -> None:
        self._kind = settings.reward.voters
        self._count = settings.group_size
        self._sampler = sampler
        self._seeds = seeds
        self._contracts = contracts
        self._question = question

    def of(self, groups: Sequence[Group], update: int, policies: Policies) -> list[VotingGroup | None]:
        """The group that judges each group, in order; None where a paraphrase is to vote and there is none."""
        questions: list[str | None]
        if self._kind == "teacher":
            questions = [group.asked for group in groups]
        else:
            questions = self._paraphrases(groups, update, policies)
        asked = [
            (index, group, question)
            for index, (group, question) in enumerate(zip(groups, questions, strict=True))
            if question is not None
        ]
        requests = [
            RolloutRequest(
                solver_messages(question),
                group.png,
                self._count,
                self._seeds.first(update, index, Stream.VOTERS),
            )
            for index, group, question in asked
        ]
        policy = policies["teacher" if self._kind == "teacher" else "solver"]
        sampled = self._sampler.sample(policy, requests, self._contracts["solver"])
        voting: list[VotingGroup | None] = [None] * len(groups)
        for (index, _, question), rollouts in zip(asked, sampled, strict=True):
            voting[index] = VotingGroup(question, rollouts, is_judged=self._kind == "paraphrase")
        return voting

    def _paraphrases(self, groups: Sequence[Group], update: int, policies: Policies) -> list[str | None]:
        """The Solver's paraphrase of each group's question; None where it writes none in other words."""
        found = paraphrases(
            groups,
            1,
            lambda requests: self._sampler.sample(policies["solver"], requests, self._contracts["proposer"]),
            [self._seeds.first(update, index, Stream.PARAPHRASE) for index in range(len(groups))],
            self._question,
        )
        return [next(iter(of_group), None) for of_group in found]
