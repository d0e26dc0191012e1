"""The warm start: self-distillation from text twins to images.

The teacher is the language model itself. It reasons about the text twin of a prompt, sampled at temperature 1. The
student, the same model with a LoRA adapter, is given the image instead, and is trained towards the teacher's
distribution at each token of that reasoning. So the model keeps its own language, and its own errors.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from torch.optim.lr_scheduler import LambdaLR

from ireasoner.trainer.adapters.backbone import (
    active_adapter,
    forbidden_token_ids,
    lora_config,
    stop_token_ids,
)
from ireasoner.trainer.graft.text_twin import Twins, drawn_twins
from ireasoner.trainer.settings import LoraSettings
from ireasoner.trainer.tiny_model.tokenizer import PAD
from ireasoner.trainer.worlds.digit_grids.digits import Part
from ireasoner.trainer.worlds.digit_grids.grid import Grid

HELD_OUT = 24
"""Prompts on which the divergence is measured."""

_HELD_OUT_PER_BATCH = 8
_UPDATES_SAMPLED_TOGETHER = 4
_FIRST_TOKENS = 32
"""Tokens that every reasoning of a batch may have at first; those that have not ended go on in smaller batches."""
_LORA = LoraSettings(r=16, alpha=32, dropout=0.0)
_LEARNING_RATE = 3e-4
_WARM_UP_UPDATES = 10


@dataclass(frozen=True)
class Lesson:
    """A prompt with its text twin, and the teacher's reasoning about the twin, as token ids."""

    twins: Twins
    reasoning: list[int]


@dataclass(frozen=True)
class Divergence:
    """How far the student, given images, is from the teacher, given their text twins, on held-out handwriting.

    Attributes:
        own: KL(teacher || student) with each grid's own image, in nats per token; 0 if images are as good as text.
        other: The same with the image of another grid; what the student sees is the difference to `own`.
    """

    own: float
    other: float

    def __str__(self) -> str:
        return f"{self.own:.3f} ({self.other:.3f} with the image of another grid)"


@dataclass(frozen=True)
class WarmStarted:
    """A warm-started model.

    Attributes:
        model: The model, with the adapter merged in.
        updates: The updates that were made.
        before: Its divergence before the warm start.
        after: Its divergence after it; None if the warm start was stopped.
    """

    model: Any = field(repr=False)
    updates: int
    before: Divergence
    after: Divergence | None


def warm_start(
    model: Any,
    processor: Any,
    updates: int,
    *,
    prompts_per_update: int,
    max_new_tokens: int,
    seed: int,
    advance: Callable[[float], object] = lambda divergence: None,
    stopped: Callable[[], bool] = lambda: False,
) -> WarmStarted:
    """Distils the model's reasoning about text twins into its reasoning about images.

    It computes in the model's dtype, or in float32 where the CPU has no fast bfloat16.

    Args:
        model: The grafted model; its tower does not change.
        processor: Its processor.
        updates: Number of updates.
        prompts_per_update: Prompts in each.
        max_new_tokens: Maximum length of a reasoning, in tokens.
        seed: Seed of grids, questions, sampling and adapter.
        advance: Called after each update with its mean divergence, in nats per token.
        stopped: Asked after each measurement and each update whether to end the warm start.
    """
    torch.manual_seed(seed)
    dtype = model.dtype
    student = Student(model.to(_fast(dtype)), processor, max_new_tokens)
    held_out = list(islice(student.lessons("held-out", np.random.default_rng([seed, 1]), HELD_OUT), HELD_OUT))
    before = student.measured(held_out)
    together = _UPDATES_SAMPLED_TOGETHER * prompts_per_update
    lessons = student.lessons("warm-start", np.random.default_rng([seed, 2]), together)
    done = 0
    for divergence in () if stopped() else student.learn(lessons, updates, prompts_per_update):
        done += 1
        advance(divergence)
        if stopped():
            break
    after = student.measured(held_out) if done == updates and not stopped() else None
    return WarmStarted(student.merged().to(dtype), done, before, after)


class Student:
    """A model with an adapter; without the adapter it is its own teacher."""

    def __init__(self, model: Any, processor: Any, max_new_tokens: int) -> None:
        self._policy = get_peft_model(model, lora_config(model, _LORA))
        self._model = self._policy.get_base_model()
        self._hook = self._model.get_output_embeddings().register_forward_pre_hook(_contiguous)
        self._processor = processor
        self._pad = processor.tokenizer.convert_tokens_to_ids(PAD)
        self._max_new_tokens = max_new_tokens
        self._forbidden = list(forbidden_token_ids(model.config, processor.tokenizer))
        self._stops = frozenset(stop_token_ids(self._model.generation_config, processor.tokenizer))

    def lessons(self, part: Part, rng: np.random.Generator, together: int) -> Iterator[Lesson]:
        """Lessons about one part's digits, without an end; the teacher samples `together` reasonings in a batch."""
        twins = drawn_twins(part, rng)
        while True:
            yield from self._reason(list(islice(twins, together)))

    def learn(self, lessons: Iterator[Lesson], updates: int, prompts_per_update: int) -> Iterator[float]:
        """Trains the adapter; yields the mean divergence of each update."""
        adapter = [parameter for parameter in self._policy.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(adapter, lr=_LEARNING_RATE, weight_decay=0.0)
        schedule = LambdaLR(optimizer, lambda update: _rate(update, updates))
        for _ in range(updates):
            divergence = self.divergence(list(islice(lessons, prompts_per_update))).mean()
            optimizer.zero_grad(set_to_none=True)
            divergence.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(adapter, 1.0)
            optimizer.step()
            schedule.step()
            yield divergence.item()

    @torch.no_grad()
    def measured(self, lessons: Sequence[Lesson]) -> Divergence:
        """The mean divergence over all tokens of the lessons."""
        grids = [lesson.twins.grid for lesson in lessons]
        own, other = [], []
        for start in range(0, len(lessons), _HELD_OUT_PER_BATCH):
            batch = slice(start, start + _HELD_OUT_PER_BATCH)
            teacher = self._teacher(lessons[batch])
            own.append(_kl(teacher, self._student(lessons[batch], grids[batch])))
            other.append(_kl(teacher, self._student(lessons[batch], [*grids[1:], grids[0]][batch])))
        return Divergence(float(torch.cat(own).mean()), float(torch.cat(other).mean()))

    def divergence(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """KL(teacher || student) at each token of the reasonings, in nats, (T,)."""
        grids = [lesson.twins.grid for lesson in lessons]
        return _kl(self._teacher(lessons), self._student(lessons, grids))

    def merged(self) -> Any:
        """The model with the adapter merged in."""
        self._hook.remove()
        return self._policy.merge_and_unload()

    @torch.no_grad()
    def _teacher(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """The teacher's log-probabilities, given the text twins; see `_log_probabilities`."""
        prompts = self._prompts([lesson.twins.in_words for lesson in lessons])
        with active_adapter(self._policy, None):
            return self._log_probabilities(prompts, lessons)

    def _student(self, lessons: Sequence[Lesson], shown: Sequence[Grid]) -> torch.Tensor:
        """The student's log-probabilities, given the images of the grids `shown`; see `_log_probabilities`."""
        chats = [lesson.twins.messages for lesson in lessons]
        return self._log_probabilities(self._prompts(chats, images=[grid.image for grid in shown]), lessons)

    def _reason(self, twins: Sequence[Twins]) -> list[Lesson]:
        """The teacher's reasoning about each text twin."""
        prompts = self._prompts([pair.in_words for pair in twins])
        rows = zip(prompts.input_ids, prompts.attention_mask, strict=True)
        texts = [ids[mask.bool()].tolist() for ids, mask in rows]
        reasonings: list[list[int]] = [[] for _ in twins]
        going, length, part = list(range(len(twins))), 0, _FIRST_TOKENS
        while going and length < self._max_new_tokens:
            part = min(part, self._max_new_tokens - length)
            said = self._continued([texts[i] + reasonings[i] for i in going], part)
            for i, more in zip(going, said, strict=True):
                reasonings[i] += more
            going = [i for i in going if reasonings[i][-1] not in self._stops]
            length, part = length + part, 2 * part
        return [Lesson(pair, reasoning) for pair, reasoning in zip(twins, reasonings, strict=True)]

    def _continued(self, texts: list[list[int]], count: int) -> list[list[int]]:
        """What the teacher says after each text: up to `count` tokens, or up to the first that ends it."""
        inputs = self._processor.tokenizer.pad({"input_ids": texts}, padding_side="left", return_tensors="pt")
        with torch.inference_mode(), active_adapter(self._policy, None):
            tokens = self._model.generate(
                **inputs, max_new_tokens=count, do_sample=True, suppress_tokens=self._forbidden
            )
        return [self._ended(row) for row in tokens[:, inputs["input_ids"].size(1) :].tolist()]

    def _ended(self, completion: list[int]) -> list[int]:
        """A completion up to the first token that ends it."""
        end = next((i for i, token in enumerate(completion) if token in self._stops), len(completion))
        return completion[: end + 1]

    def _log_probabilities(self, prompts: Any, lessons: Sequence[Lesson]) -> torch.Tensor:
        """The log-probabilities of all words at each token of the reasonings, (T, V) float32."""
        inputs = dict(prompts)
        reasonings = [lesson.reasoning for lesson in lessons]
        longest = max(map(len, reasonings))
        rows = [reasoning + [self._pad] * (longest - len(reasoning)) for reasoning in reasonings]
        learnt = torch.arange(longest) < torch.tensor(list(map(len, reasonings)))[:, None]
        appended = {"input_ids": torch.tensor(rows), "attention_mask": learnt.long()}
        if "mm_token_type_ids" in inputs:
            appended["mm_token_type_ids"] = torch.zeros_like(learnt, dtype=torch.long)
        for name, values in appended.items():
            inputs[name] = torch.cat([inputs[name], values.to(inputs[name].dtype)], dim=1)
        logits = self._model(**inputs, logits_to_keep=longest + 1, use_cache=False).logits[:, :-1]
        log_probabilities: torch.Tensor = logits[learnt].float().log_softmax(dim=-1)
        return log_probabilities

    def _prompts(self, chats: Sequence[Any], images: Any = None) -> Any:
        """The inputs of prompts, padded on the left."""
        template = self._processor.apply_chat_template
        return self._processor(
            text=[template(chat, add_generation_prompt=True, tokenize=False) for chat in chats],
            images=images,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )


def _contiguous(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The head's input in one piece, also where it is a slice of one sequence, which counts as contiguous.

    Without gradients torch's CPU kernels multiply each sequence of a slice with a copy of the frozen weight of its own:
    gigabytes and seconds with 151,936 words.
    """
    return tuple(each.clone(memory_format=torch.contiguous_format) for each in inputs)


def _kl(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) at each token, in nats, from log-probabilities (T, V)."""
    return torch.nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)


def _rate(update: int, updates: int) -> float:
    """The share of the learning rate in an update: a linear warm-up, times half a cosine; it is never 0."""
    warm_up = min(_WARM_UP_UPDATES, updates // 2)
    return min(1.0, (update + 1) / (warm_up + 1)) * (1 + math.cos(math.pi * update / updates)) / 2


def _fast(dtype: torch.dtype) -> torch.dtype:
    """float32 in place of float16, and of bfloat16 where the CPU has no instructions for it; else `dtype`."""
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.float32 if dtype == torch.float16 or not has_bfloat16 else dtype
