"""Evaluation of a policy on labelled questions, through any OpenAI-compatible server."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from ireasoner.trainer.evaluation.intervals import Interval, bootstrap
from ireasoner.trainer.evaluation.questions import Question, parse_answer
from ireasoner.trainer.images import png_bytes, read_image
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract

_CHUNK = 64


class AnswerClient(Protocol):
    """A server that serves policies."""

    def texts(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        """For each request, in order, a list of its `count` completions."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A policy's figures on some questions.

    Attributes:
        questions: Number of questions.
        greedy: Accuracy at temperature 0.
        sampled: Mean accuracy of a rollout at temperature 1.
        majority: maj@N: accuracy of the most frequent answer; of tied answers, the share that is right counts.
        passed: pass@N: share of questions that at least one rollout answers correctly.
        format_rate: Share of sampled rollouts that contain an answer.
    """

    questions: int
    greedy: Interval
    sampled: Interval
    majority: Interval
    passed: Interval
    format_rate: Interval


@dataclass(frozen=True, slots=True)
class Evaluation(Figures):
    """A policy's figures on labelled questions, overall and by kind.

    Attributes:
        policy: Name that it was served under.
        samples: N, rollouts per question in the sampled figures.
        by_kind: Figures of each kind of question.
        asked: Digest of the images, questions, true answers and matching rules.
        correct: Whether the greedy answer to each question is right, in order (for paired comparisons).
    """

    policy: str
    samples: int
    by_kind: dict[str, Figures]
    asked: str
    correct: list[bool] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The figures in types that JSON has."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Hits:
    """The figures of one question."""

    kind: str
    greedy: float
    sampled: float
    majority: float
    passed: float
    formatted: float


def evaluate(
    client: AnswerClient,
    policy: str,
    questions: Sequence[Question],
    *,
    samples: int,
    max_tokens: int,
    forbidden_token_ids: tuple[int, ...] = (),
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Asks `policy` every question once greedily and `samples` times at temperature 1.

    Args:
        client: The server.
        policy: Served name of the policy.
        questions: The labelled questions.
        samples: N, rollouts per question at temperature 1.
        max_tokens: Maximum number of new tokens per rollout.
        forbidden_token_ids: Tokens that are never sampled.
        seed: Seed of the sampled rollouts.
        on_progress: Called with the number of questions answered since the last call.

    Raises:
        RolloutServerError: The server refused, or was unreachable for longer than the retry budget.
    """
    greedy_contract = SamplingContract(max_tokens, temperature=0.0, forbidden_token_ids=forbidden_token_ids)
    sampled_contract = SamplingContract(max_tokens, forbidden_token_ids=forbidden_token_ids)
    hits: list[_Hits] = []
    asked = hashlib.sha256()
    for start in range(0, len(questions), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        pngs = [png_bytes(read_image(question.image)) for question in chunk]

        def requests(
            count: int, chunk: Sequence[Question] = chunk, pngs: list[bytes] = pngs, start: int = start
        ) -> list[RolloutRequest]:
            return [
                RolloutRequest(solver_messages(question.prompt), png, count, seed + (start + i) * samples)
                for i, (question, png) in enumerate(zip(chunk, pngs, strict=True))
            ]

        greedy = client.texts(policy, requests(1), greedy_contract)
        sampled = client.texts(policy, requests(samples), sampled_contract)
        for question, png, [one], many in zip(chunk, pngs, greedy, sampled, strict=True):
            asked.update(hashlib.sha256(png).digest())
            asked.update(repr((question.prompt, question.answer, question.matching)).encode())
            hits.append(_judge(question, one, many))
        if on_progress is not None:
            on_progress(len(chunk))
    overall = _figures(hits)
    return Evaluation(
        **{name: getattr(overall, name) for name in Figures.__slots__},
        policy=policy,
        samples=samples,
        by_kind={
            kind: _figures([hit for hit in hits if hit.kind == kind])
            for kind in sorted({question.kind for question in questions})
        },
        asked=asked.hexdigest(),
        correct=[hit.greedy == 1.0 for hit in hits],
    )


def paired_gain(before: Evaluation, after: Evaluation) -> Interval:
    """Greedy accuracy after minus before, paired by question, with its 95% bootstrap interval."""
    gains = [float(b) - float(a) for a, b in zip(before.correct, after.correct, strict=True)]
    return bootstrap(gains)


def _judge(question: Question, greedy: str, sampled: Sequence[str]) -> _Hits:
    answers = [parse_answer(text) for text in sampled]
    hits = [answer is not None and question.is_right(answer) for answer in answers]
    first = parse_answer(greedy)
    return _Hits(
        kind=question.kind,
        greedy=float(first is not None and question.is_right(first)),
        sampled=float(np.mean(hits)),
        majority=majority_hit(question, [answer for answer in answers if answer is not None]),
        passed=float(any(hits)),
        formatted=float(np.mean([answer is not None for answer in answers])),
    )


def majority_hit(question: Question, answers: Iterable[str]) -> float:
    """1 if the most frequent answer is right; among tied answers, the share that is right; 0 without answers."""
    counts = Counter(question.vote(answer) for answer in answers)
    if not counts:
        return 0.0
    top = max(counts.values())
    leaders = [answer for answer, count in counts.items() if count == top]
    return float(np.mean([question.is_right(answer) for answer in leaders]))


def _figures(hits: Sequence[_Hits]) -> Figures:
    return Figures(
        questions=len(hits),
        greedy=bootstrap([hit.greedy for hit in hits]),
        sampled=bootstrap([hit.sampled for hit in hits]),
        majority=bootstrap([hit.majority for hit in hits]),
        passed=bootstrap([hit.passed for hit in hits]),
        format_rate=bootstrap([hit.formatted for hit in hits]),
    )
