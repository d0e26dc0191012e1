"""Evaluation of a policy on labelled questions, through any OpenAI-compatible server."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.evaluation.intervals import Interval, bootstrap
from ireasoner.trainer.evaluation.questions import Question, parse_answer
from ireasoner.trainer.evaluation.replies import AnswerClient, Reply, ask
from ireasoner.trainer.rollouts.rollout import SamplingContract

_CHUNK = 64


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
        correct: Whether the greedy answer to each question is right, in order (for paired comparisons); None for one
            that could not be asked.
        failed: Number of questions that could not be asked; no figure counts them.
    """

    policy: str
    samples: int
    by_kind: dict[str, Figures]
    asked: str
    correct: Sequence[bool | None] = field(repr=False)
    failed: int = 0

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
    on_replies: Callable[[Sequence[Reply]], None] = lambda _: None,
) -> Evaluation:
    """Asks `policy` every question once greedily and `samples` times at temperature 1.

    A question whose image cannot be read, or which the server refuses, is left out of the figures and counted.

    Args:
        client: The server.
        policy: Served name of the policy.
        questions: The labelled questions.
        samples: N, rollouts per question at temperature 1.
        max_tokens: Maximum number of new tokens per rollout.
        forbidden_token_ids: Tokens that are never sampled.
        seed: Seed of the sampled rollouts.
        on_replies: Called with the replies to the next questions, in order.

    Raises:
        ImagesError: No question could be asked; the message gives the first reason.
        RolloutServerError: The server refused every request alike, or was unreachable for longer than the budget.
    """
    sampled = SamplingContract(max_tokens, forbidden_token_ids=forbidden_token_ids)
    hits: list[_Hits | None] = []
    asked = hashlib.sha256()
    first_reason = ""
    for start in range(0, len(questions), _CHUNK):
        replies = ask(
            client, policy, questions[start : start + _CHUNK], sampled, samples, seed + start * samples
        )
        for reply in replies:
            question = reply.question
            asked.update(reply.image_digest)
            asked.update(repr((question.prompt, question.answer, question.matching)).encode())
            hits.append(None if reply.error is not None else _judge(reply))
            first_reason = first_reason or (f"{question.index}: {reply.error}" if reply.error else "")
        on_replies(replies)
    known = [hit for hit in hits if hit is not None]
    if not known:
        raise ImagesError(f"questions: none could be asked; {first_reason}")
    overall = _figures(known)
    return Evaluation(
        **{name: getattr(overall, name) for name in Figures.__slots__},
        policy=policy,
        samples=samples,
        by_kind={
            kind: _figures([hit for hit in known if hit.kind == kind])
            for kind in sorted({hit.kind for hit in known})
        },
        asked=asked.hexdigest(),
        correct=[None if hit is None else hit.greedy == 1.0 for hit in hits],
        failed=len(hits) - len(known),
    )


def paired_gain(before: Sequence[bool | None], after: Sequence[bool | None]) -> Interval | None:
    """Greedy accuracy after minus before, paired by question, with its 95% bootstrap interval.

    Args:
        before: `Evaluation.correct` of one policy.
        after: The same of another, on the same questions.

    Returns:
        None if no question was asked of both.
    """
    gains = [
        float(b) - float(a) for a, b in zip(before, after, strict=True) if a is not None and b is not None
    ]
    return bootstrap(gains) if gains else None


def _judge(reply: Reply) -> _Hits:
    question = reply.question
    answers = [parse_answer(text) for text in reply.sampled]
    hits = [answer is not None and question.is_right(answer) for answer in answers]
    first = parse_answer(reply.greedy)
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
