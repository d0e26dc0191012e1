"""Groups that judge the Solver's answers by their votes: answers to a paraphrase, or those of a slow teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ireasoner.trainer.loop.sampler import Policies, Sampler
from ireasoner.trainer.loop.seeds import Seeds, Stream
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.paraphrase import paraphrase_messages
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import Role, RunSettings


@dataclass(frozen=True, slots=True)
class JudgingGroup:
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
    """Samples judging groups, of as many rollouts as the groups that they judge.

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
        question: Callable[[Rollout], str | None],
    ) -> None:
        self._kind = settings.reward.voters
        self._count = settings.group_size
        self._sampler = sampler
        self._seeds = seeds
        self._contracts = contracts
        self._question = question

    def of(self, groups: Sequence[Group], update: int, policies: Policies) -> list[JudgingGroup | None]:
        """The group that judges each group, in order; None without a question, or without a paraphrase of it."""
        if self._kind == "teacher":
            questions = [group.question for group in groups]
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
        judging: list[JudgingGroup | None] = [None] * len(groups)
        for (index, _, question), rollouts in zip(asked, sampled, strict=True):
            judging[index] = JudgingGroup(question, rollouts, is_judged=self._kind == "paraphrase")
        return judging

    def _paraphrases(self, groups: Sequence[Group], update: int, policies: Policies) -> list[str | None]:
        """The Solver's paraphrase of each group's question; None where it writes none."""
        asked = [
            (index, group, group.question) for index, group in enumerate(groups) if group.question is not None
        ]
        requests = [
            RolloutRequest(
                paraphrase_messages(question),
                group.png,
                1,
                self._seeds.first(update, index, Stream.PARAPHRASE),
            )
            for index, group, question in asked
        ]
        sampled = self._sampler.sample(policies["solver"], requests, self._contracts["proposer"])
        paraphrases: list[str | None] = [None] * len(groups)
        for (index, _, _), [rollout] in zip(asked, sampled, strict=True):
            paraphrases[index] = self._question(rollout)
        return paraphrases
