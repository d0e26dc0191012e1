"""Evaluates a policy on labelled questions: its answers, and how many of its steps are true, question by question."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ireasoner.trainer.evaluation.evaluation import majority_hit
from ireasoner.trainer.evaluation.questions import parse_answer
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.tiny_model.completion import parse_completion
from ireasoner.trainer.tiny_model.task import TASKS
from ireasoner.trainer.worlds.world import Asked
from replication.reasoning import check
from replication.settings import Plan

_CHUNK = 64
"""Questions that are sent at a time."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One value per question; all are in [0, 1] except the entropy.

    Attributes:
        greedy: Whether the answer at temperature 0 is right.
        greedy_sound: Whether it is right and its steps are a right derivation of it.
        sampled: avg@N: mean accuracy of the samples at temperature 1.
        majority: maj@N: whether the most frequent answer of the samples is right; a tie counts in part.
        passed: pass@N: whether any sample is right.
        true_steps: Share of a sample's steps that are true, mean over samples.
        gold_steps: Agreement of a sample's steps with the gold steps, mean over samples.
        sound: Share of the samples that are right by a right derivation. The other right ones are lucky.
        orders: Number of different orders of adding among the samples, divided by the number of samples.
        entropy_nats: Entropy of the samples' answers; each sample without an answer counts as an answer of its own.
    """

    greedy: list[float]
    greedy_sound: list[float]
    sampled: list[float]
    majority: list[float]
    passed: list[float]
    true_steps: list[float]
    gold_steps: list[float]
    sound: list[float]
    orders: list[float]
    entropy_nats: list[float]

    def as_dict(self) -> dict[str, list[float]]:
        """The values by metric, as stored in JSON."""
        return asdict(self)


METRICS = tuple(Answered.__slots__)
"""The names of the metrics of an evaluation."""


def splits(plan: Plan) -> dict[str, list[Asked]]:
    """The questions of each split of a plan's task, by name: our own splits, and foreign ones."""
    world = TASKS[plan.task].world
    return {
        "test": world.evaluation_questions(plan.questions, plan.test_seed, held_out=False),
        "held_out_combinations": world.evaluation_questions(
            max(plan.questions // 2, 1), plan.test_seed, held_out=True
        ),
        **world.foreign(plan.questions, plan.test_seed),
    }


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates policies of a rollout server.

    Attributes:
        client: The client of the server.
        max_tokens: Maximum number of new tokens per answer.
        forbidden_token_ids: Tokens that are never sampled.
    """

    client: RolloutClient
    max_tokens: int
    forbidden_token_ids: tuple[int, ...]

    def evaluate(self, policy: str, asked: Sequence[Asked], *, samples: int, seed: int) -> Answered:
        """Asks `policy` each question once greedily and `samples` times at temperature 1.

        Raises:
            RolloutServerError: The server refused, or stayed unreachable past the retry budget.
        """
        greedy = self._greedy(policy, asked)
        sampled = self.sampled(policy, asked, samples, seed)
        by_question = [
            _judge(one, *texts) for one, texts in zip(asked, zip(greedy, sampled, strict=True), strict=True)
        ]
        return Answered(*(list(metric) for metric in zip(*by_question, strict=True)))

    def greedy_hits(self, policy: str, asked: Sequence[Asked]) -> list[float]:
        """1 for each question that `policy` answers right at temperature 0, else 0.

        Raises:
            RolloutServerError: The server refused, or stayed unreachable past the retry budget.
        """
        texts = self._greedy(policy, asked)
        return [float(_is_right(one, parse_answer(text))) for one, text in zip(asked, texts, strict=True)]

    def sampled(self, policy: str, asked: Sequence[Asked], samples: int, seed: int) -> list[list[str]]:
        """`samples` completions of `policy` at temperature 1 for each question.

        Raises:
            RolloutServerError: The server refused, or stayed unreachable past the retry budget.
        """
        contract = SamplingContract(self.max_tokens, forbidden_token_ids=self.forbidden_token_ids)
        return self._texts(policy, asked, contract, samples, seed)

    def _greedy(self, policy: str, asked: Sequence[Asked]) -> list[str]:
        contract = SamplingContract(
            self.max_tokens, temperature=0.0, forbidden_token_ids=self.forbidden_token_ids
        )
        return [text for [text] in self._texts(policy, asked, contract, 1, 0)]

    def _texts(
        self, policy: str, asked: Sequence[Asked], contract: SamplingContract, count: int, seed: int
    ) -> list[list[str]]:
        """`count` completions for each question."""
        texts: list[list[str]] = []
        for start in range(0, len(asked), _CHUNK):
            requests = [
                RolloutRequest(
                    solver_messages(one.text),
                    png_bytes(one.image),
                    count,
                    seed + number * count,
                )
                for number, one in enumerate(asked[start : start + _CHUNK], start)
            ]
            texts += self.client.texts(policy, requests, contract)
        return texts


def _judge(asked: Asked, greedy: str, sampled: Sequence[str]) -> list[float]:
    """The values of one question, in the order of `Answered`."""
    question = asked.labelled
    answers = [parse_answer(text) for text in sampled]
    right = [_is_right(asked, answer) for answer in answers]
    completions = [parse_completion(text) for text in sampled]
    steps = [check(completion, asked) for completion in completions]
    first = _is_right(asked, parse_answer(greedy))
    return [
        float(first),
        float(first and check(parse_completion(greedy), asked).sound),
        float(np.mean(right)),
        majority_hit(question, [answer for answer in answers if answer is not None]),
        float(any(right)),
        float(np.mean([one.true_share for one in steps])),
        float(np.mean([one.gold_share for one in steps])),
        float(np.mean([hit and one.sound for hit, one in zip(right, steps, strict=True)])),
        len({completion.order for completion in completions if completion.order}) / len(sampled),
        _entropy_nats([i if a is None else question.vote(a) for i, a in enumerate(answers)]),
    ]


def _is_right(asked: Asked, answer: str | None) -> bool:
    return answer is not None and asked.labelled.is_right(answer)


def _entropy_nats(answers: Sequence[str | int]) -> float:
    shares = np.array(list(Counter(answers).values())) / len(answers)
    return float(-(shares * np.log(shares)).sum()) + 0.0
