"""Scores of a checkpoint on labelled pictures: greedy, per sample, by majority, and by any of the samples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ireasoner.trainer.evaluation.intervals import Interval, bootstrap
from ireasoner.trainer.rollouts.prompts import Message, parse_question, proposer_messages, solver_messages
from ireasoner.trainer.tiny_model.completion import Completion, parse_completion
from ireasoner.trainer.worlds.world import Asked, Opening

if TYPE_CHECKING:
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

_MAX_NEW_TOKENS = 96
_PROMPTS_PER_BATCH = 50


@dataclass(frozen=True)
class Scores:
    """A checkpoint's scores; all are shares in [0, 1] except the two counts.

    Attributes:
        questions: Number of questions.
        samples: Samples per question.
        greedy: Accuracy at temperature 0.
        sampled: Mean accuracy of a sample.
        majority: Accuracy of the samples' most frequent answer (among equals, the first).
        any_sample: Questions that at least one sample answers correctly.
        majority_gain: `majority - greedy`, paired by question, with its 95% bootstrap interval.
        form: Samples with numbered steps and an answer.
        reading: Operands read correctly in the first step of greedy completions; without operands, correct first steps;
            where every step reads one cell, correct steps.
        additions: Sampled additions that are true.
        lucky: Right samples that contain a wrong addition or reading.
        greedy_by_kind: `greedy` for each kind of question.
    """

    questions: int
    samples: int
    greedy: float
    sampled: float
    majority: float
    any_sample: float
    majority_gain: Interval
    form: float
    reading: float
    additions: float
    lucky: float
    greedy_by_kind: dict[str, float]

    def lines(self) -> str:
        """The scores as text, one per line."""
        return "\n".join(f"{field.name}: {_shown(getattr(self, field.name))}" for field in fields(self))


def score(
    model: "Qwen2_5_VLForConditionalGeneration",
    processor: "Qwen2_5_VLProcessor",
    asked: Sequence[Asked],
    samples: int,
    seed: int,
) -> Scores:
    """Asks every question once greedily and `samples` times at temperature 1."""
    import torch

    torch.manual_seed(seed)
    prompts = [(one.image, solver_messages(one.text)) for one in asked]
    greedy = [group[0] for group in complete(model, processor, prompts, samples=None)]
    sampled = complete(model, processor, prompts, samples=samples)
    greedy_right = np.array([_right(text, one) for text, one in zip(greedy, asked, strict=True)])
    sampled_right = np.array(
        [[_right(text, one) for text in group] for group, one in zip(sampled, asked, strict=True)]
    )
    majority_right = np.array(
        [_majority(group) == one.answer for group, one in zip(sampled, asked, strict=True)]
    )
    parsed = [parse_completion(text) for text in greedy]
    kinds = np.array([one.kind for one in asked])
    return Scores(
        questions=len(asked),
        samples=samples,
        greedy=float(greedy_right.mean()),
        sampled=float(sampled_right.mean()),
        majority=float(majority_right.mean()),
        any_sample=float(sampled_right.any(axis=1).mean()),
        majority_gain=bootstrap(majority_right.astype(float) - greedy_right, seed),
        form=float(np.mean([parse_completion(text).well_formed for group in sampled for text in group])),
        reading=_reading(parsed, asked),
        additions=_additions([parse_completion(text) for group in sampled for text in group]),
        lucky=_lucky(sampled, asked, sampled_right),
        greedy_by_kind={
            str(kind): float(greedy_right[kinds == kind].mean()) for kind in dict.fromkeys(kinds)
        },
    )


def proposals(
    model: "Qwen2_5_VLForConditionalGeneration",
    processor: "Qwen2_5_VLProcessor",
    images: Sequence[Image.Image],
    seed: int,
) -> list[str | None]:
    """One question per image, sampled from the Proposer at temperature 1; None for a proposal without one."""
    import torch

    torch.manual_seed(seed)
    prompts = [(image, proposer_messages()) for image in images]
    return [parse_question(group[0]) for group in complete(model, processor, prompts, samples=1)]


def complete(
    model: Any, processor: Any, prompts: Sequence[tuple[Image.Image, list[Message]]], samples: int | None
) -> list[list[str]]:
    """The completions of each prompt: `samples` at temperature 1, or a single greedy one if it is None."""
    completions: list[list[str]] = []
    for start in range(0, len(prompts), _PROMPTS_PER_BATCH):
        batch = prompts[start : start + _PROMPTS_PER_BATCH]
        inputs = processor(
            text=[
                processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                for _, messages in batch
            ],
            images=[image for image, _ in batch],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        texts = _generate(model, processor, inputs, samples)
        each = samples or 1
        completions += [texts[i : i + each] for i in range(0, len(texts), each)]
    return completions


def _generate(model: Any, processor: Any, inputs: Any, samples: int | None) -> list[str]:
    import torch

    with torch.inference_mode():
        tokens: torch.Tensor = model.generate(
            **inputs,
            max_new_tokens=_MAX_NEW_TOKENS,
            do_sample=samples is not None,
            num_return_sequences=samples or 1,
            suppress_tokens=[processor.image_token_id, processor.video_token_id],
            **({"temperature": 1.0, "top_k": 0, "top_p": 1.0} if samples is not None else {}),
        )
    texts: list[str] = processor.batch_decode(
        tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return texts


def _right(text: str, asked: Asked) -> bool:
    return parse_completion(text).answer == asked.answer


def _majority(group: Sequence[str]) -> str | None:
    answers = [answer for answer in (parse_completion(text).answer for text in group) if answer is not None]
    return Counter(answers).most_common(1)[0][0] if answers else None


def _reading(parsed: Sequence[Completion], asked: Sequence[Asked]) -> float:
    right = total = 0
    for completion, one in zip(parsed, asked, strict=True):
        if one.readings:
            right += _read_in_turn(completion, one)
            total += len(one.readings)
            continue
        right += max(_read_right(completion, opening) for opening in one.openings)
        total += max(1, len(one.openings[0].operands))
    return right / total


def _read_in_turn(completion: Completion, asked: Asked) -> int:
    """Number of steps that read their cell right."""
    return sum(step == right for step, right in zip(completion.steps, asked.true_readings, strict=False))


def _read_right(completion: Completion, opening: Opening) -> int:
    """Number of operands of a first step that a completion reads correctly; 1 or 0 for a step without operands."""
    if not opening.operands:
        return completion.first == opening.text
    return sum(a == b for a, b in zip(completion.read, opening.operands, strict=False))


def _additions(parsed: Sequence[Completion]) -> float:
    sums = [a + b == said for completion in parsed for a, b, said in completion.additions]
    return sum(sums) / len(sums) if sums else 0.0


def _lucky(sampled: Sequence[Sequence[str]], asked: Sequence[Asked], right: Any) -> float:
    wrong = [
        any(a + b != said for a, b, said in completion.additions)
        or _read_in_turn(completion, one) < len(one.readings)
        for texts, one, hits in zip(sampled, asked, right, strict=True)
        for completion, hit in zip(map(parse_completion, texts), hits, strict=True)
        if hit
    ]
    return sum(wrong) / len(wrong) if wrong else 0.0


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(part)}" for key, part in value.items())
    return f"{value:.3f}" if isinstance(value, float) else str(value)
