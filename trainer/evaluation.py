"""Evaluation against labelled questions, through any OpenAI-compatible server that returns token ids."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trainer.images import png_bytes, read_image
from trainer.prompts import solver_messages
from trainer.questions import Question, normalise, parse_answer
from trainer.rollout import RolloutRequest, SamplingContract
from trainer.rollout_client import RolloutClient

_BOOTSTRAPS = 2000
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Interval:
    """A share in [0, 1] with its 95% bootstrap interval over questions."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a policy scores on labelled questions.

    Attributes:
        policy: The name that it was served under.
        questions: How many questions.
        samples: N, the rollouts a question that the sampled figures are over.
        greedy: Accuracy at temperature 0.
        sampled: Mean accuracy of a rollout at temperature 1.
        majority: maj@N: accuracy of the most frequent answer; a tie counts in part.
        passed: pass@N: share of questions that some rollout gets right.
        format_rate: Share of sampled rollouts that hold an answer.
        greedy_by_kind: `greedy` for each kind of question.
        correct: Whether the greedy answer to each question is right, in order (for paired comparison).
    """

    policy: str
    questions: int
    samples: int
    greedy: Interval
    sampled: Interval
    majority: Interval
    passed: Interval
    format_rate: float
    greedy_by_kind: dict[str, float]
    correct: list[bool] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them."""
        return asdict(self)


def evaluate(
    client: RolloutClient,
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

    Raises:
        RolloutServerError: The server refused, or stayed away past the budget.
    """
    greedy_contract = SamplingContract(max_tokens, temperature=0.0, forbidden_token_ids=forbidden_token_ids)
    sampled_contract = SamplingContract(max_tokens, forbidden_token_ids=forbidden_token_ids)
    greedy_hit: list[float] = []
    sampled_hit: list[float] = []
    majority_hit: list[float] = []
    passed_hit: list[float] = []
    formatted: list[float] = []
    for start in range(0, len(questions), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        pngs = [png_bytes(read_image(question.image)) for question in chunk]

        def requests(
            count: int, chunk: Sequence[Question] = chunk, pngs: list[bytes] = pngs, start: int = start
        ) -> list[RolloutRequest]:
            return [
                RolloutRequest(solver_messages(question.text), png, count, seed + (start + i) * samples)
                for i, (question, png) in enumerate(zip(chunk, pngs, strict=True))
            ]

        greedy = client.sample(policy, requests(1), greedy_contract)
        sampled = client.sample(policy, requests(samples), sampled_contract)
        for question, [one], many in zip(chunk, greedy, sampled, strict=True):
            truth = normalise(question.answer)
            answers = [parse_answer(rollout.text) for rollout in many]
            hits = [answer == truth for answer in answers]
            greedy_hit.append(float(parse_answer(one.text) == truth))
            sampled_hit.append(float(np.mean(hits)))
            passed_hit.append(float(any(hits)))
            majority_hit.append(_majority_hit(answers, truth))
            formatted.append(float(np.mean([answer is not None for answer in answers])))
        if on_progress is not None:
            on_progress(len(chunk))
    kinds = sorted({question.kind for question in questions})
    return Evaluation(
        policy=policy,
        questions=len(questions),
        samples=samples,
        greedy=bootstrap(greedy_hit),
        sampled=bootstrap(sampled_hit),
        majority=bootstrap(majority_hit),
        passed=bootstrap(passed_hit),
        format_rate=float(np.mean(formatted)),
        greedy_by_kind={
            kind: float(np.mean([h for h, q in zip(greedy_hit, questions, strict=True) if q.kind == kind]))
            for kind in kinds
        },
        correct=[hit == 1.0 for hit in greedy_hit],
    )


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean and 95% percentile bootstrap interval of one value a question."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(array), size=(_BOOTSTRAPS, len(array)))
    means = array[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))


def paired_gain(before: Evaluation, after: Evaluation) -> Interval:
    """Greedy accuracy after minus before, paired on the questions, with its 95% bootstrap interval."""
    gains = [float(b) - float(a) for a, b in zip(before.correct, after.correct, strict=True)]
    return bootstrap(gains)


def _majority_hit(answers: Sequence[str | None], truth: str) -> float:
    """1 if the most frequent answer is right, 1/k where it ties with k - 1 others, 0 otherwise."""
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return 0.0
    top = max(counts.values())
    leaders = [answer for answer, count in counts.items() if count == top]
    return 1.0 / len(leaders) if truth in leaders else 0.0
