"""What a policy replies to labelled questions, question by question."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ireasoner.trainer.errors import RolloutRequestRefused, UnreadableImageError
from ireasoner.trainer.evaluation.questions import Question, parse_answer
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract


class AnswerClient(Protocol):
    """A server that serves policies."""

    def texts(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        """For each request, in order, a list of its `count` completions."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The completions for one question, or why there are none.

    Attributes:
        question: The question.
        image_digest: SHA-256 of the image as it was sent.
        error: Why it could not be asked; None if it was.
        greedy: The completion at temperature 0.
        sampled: The completions at temperature 1.
    """

    question: Question
    image_digest: bytes
    error: str | None = None
    greedy: str = ""
    sampled: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """The reply as a line of the file of answers."""
        question = self.question
        line = {
            question.unit: question.line,
            "image": str(question.image),
            "question": question.prompt,
            "answer": question.answer,
            "labels": question.spellings,
            "matching": question.matching,
        }
        if self.error is not None:
            return {**line, "error": self.error}
        return {**line, "greedy": self._judged(self.greedy), "sampled": list(map(self._judged, self.sampled))}

    def _judged(self, text: str) -> dict[str, Any]:
        answer = parse_answer(text)
        right = answer is not None and self.question.is_right(answer)
        return {"text": text, "answer": answer, "right": right}


def ask(
    client: AnswerClient,
    policy: str,
    questions: Sequence[Question],
    contract: SamplingContract,
    samples: int,
    seed: int,
) -> list[Reply]:
    """Asks questions together; one that cannot be asked does not touch the others.

    Args:
        client: The server.
        policy: Served name of the policy.
        questions: The questions.
        contract: How to sample; the greedy completion has its other fields.
        samples: Completions per question at the contract's temperature.
        seed: Seed of the first completion; each further one adds one.

    Raises:
        RolloutServerError: The server refused every request alike, or was unreachable for longer than the budget.
    """
    pictures = [_png(question) for question in questions]
    readable = [(i, picture) for i, picture in enumerate(pictures) if isinstance(picture, bytes)]

    def completions(count: int, of: SamplingContract) -> Iterator[list[str] | str]:
        requests = [
            RolloutRequest(solver_messages(questions[i].prompt), png, count, seed + i * samples)
            for i, png in readable
        ]
        return iter(_texts(client, policy, requests, of))

    greedy, sampled = completions(1, contract.greedy()), completions(samples, contract)
    return [
        _reply(question, picture, next(greedy), next(sampled))
        if isinstance(picture, bytes)
        else Reply(question, b"unreadable", picture)
        for question, picture in zip(questions, pictures, strict=True)
    ]


def _png(question: Question) -> bytes | str:
    """The image as it is sent, or why it cannot be read."""
    try:
        return png_bytes(question.picture())
    except UnreadableImageError as error:
        return f"{question.image} cannot be read: {error.reason}"


def _texts(
    client: AnswerClient, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
) -> list[list[str] | str]:
    """The completions of each request, or why the server refused it, found by halving."""
    if not requests:
        return []
    try:
        return list(client.texts(policy, requests, contract))
    except RolloutRequestRefused as error:
        if len(requests) == 1:
            return [str(error)]
    half = len(requests) // 2
    return [
        *_texts(client, policy, requests[:half], contract),
        *_texts(client, policy, requests[half:], contract),
    ]


def _reply(question: Question, png: bytes, greedy: list[str] | str, sampled: list[str] | str) -> Reply:
    digest = hashlib.sha256(png).digest()
    if isinstance(greedy, str):
        return Reply(question, digest, greedy)
    if isinstance(sampled, str):
        return Reply(question, digest, sampled)
    return Reply(question, digest, greedy=greedy[0], sampled=sampled)
