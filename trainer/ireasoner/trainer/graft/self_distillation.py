"""The warm start: the model learns to say of an image what it says itself of the same image in words.

It reasons about the text twin of a prompt, sampled at temperature 1. Then, given the image instead of the words, it is
drawn towards its own distribution at each token of that reasoning, by a LoRA adapter on the language model that is
merged in the end. So it keeps its own language, and its own errors.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from transformers import get_cosine_schedule_with_warmup

from ireasoner.trainer.adapters.backbone import active_adapter, forbidden_token_ids, lora_config
from ireasoner.trainer.graft.text_twin import Twins, drawn_twins
from ireasoner.trainer.settings import LoraSettings
from ireasoner.trainer.tiny_model.tokenizer import PAD
from ireasoner.trainer.worlds.digit_grids.digits import Part

PROMPTS_PER_UPDATE = 8
_SAMPLED_TOGETHER = 4 * PROMPTS_PER_UPDATE
_HELD_OUT = 24
_LORA = LoraSettings(r=16, alpha=32, dropout=0.0)
_LEARNING_RATE = 3e-4
_WARM_UP_UPDATES = 10


@dataclass(frozen=True)
class Lesson:
    """A pair of prompts, and the model's own reasoning about the one in words, as token ids."""

    twins: Twins
    reasoning: list[int]


@dataclass(frozen=True)
class WarmStarted:
    """A warm-started model.

    Attributes:
        model: The model, with the adapter merged in.
        before: Its divergence on held-out handwriting before the warm start: how far, given the image, it is from its
            own distribution given the words, in nats per token.
        after: The same after it.
    """

    model: Any = field(repr=False)
    before: float
    after: float

    def __str__(self) -> str:
        return f"divergence of image from words {self.before:.3f} before, {self.after:.3f} after, in nats per token"


def warm_start(
    model: Any,
    processor: Any,
    updates: int,
    *,
    max_new_tokens: int,
    seed: int,
    advance: Callable[[], object] = lambda: None,
) -> WarmStarted:
    """Distils the model's reasoning about words into its reasoning about images.

    Args:
        model: The grafted model; its tower does not change.
        processor: Its processor.
        updates: Number of updates, of 8 prompts each.
        max_new_tokens: Bound of a reasoning.
        seed: Seed of grids, questions, sampling and adapters.
        advance: Called after each update.
    """
    torch.manual_seed(seed)
    pupil = Pupil(model, processor, max_new_tokens)
    held_out = list(islice(pupil.lessons("held-out", np.random.default_rng([seed, 1])), _HELD_OUT))
    before = pupil.mean_divergence(held_out)
    pupil.learn(pupil.lessons("warm-start", np.random.default_rng([seed, 2])), updates, advance)
    after = pupil.mean_divergence(held_out)
    return WarmStarted(pupil.merged(), before, after)


class Pupil:
    """A model with an adapter, which learns from itself without it."""

    def __init__(self, model: Any, processor: Any, max_new_tokens: int) -> None:
        self._policy = get_peft_model(model, lora_config(model, _LORA))
        self._model = self._policy.get_base_model()
        self._processor = processor
        self._pad = processor.tokenizer.convert_tokens_to_ids(PAD)
        self._max_new_tokens = max_new_tokens
        self._forbidden = list(forbidden_token_ids(model.config, processor.tokenizer))

    def lessons(self, part: Part, rng: np.random.Generator) -> Iterator[Lesson]:
        """Lessons about one part's digits, without an end."""
        twins = drawn_twins(part, rng)
        while True:
            yield from self._reason(list(islice(twins, _SAMPLED_TOGETHER)))

    def learn(self, lessons: Iterator[Lesson], updates: int, advance: Callable[[], object]) -> None:
        """Trains the adapter."""
        adapter = [parameter for parameter in self._policy.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(adapter, lr=_LEARNING_RATE, weight_decay=0.0)
        schedule = get_cosine_schedule_with_warmup(optimizer, min(_WARM_UP_UPDATES, updates // 2), updates)
        for _ in range(updates):
            divergence = self.divergence(list(islice(lessons, PROMPTS_PER_UPDATE)))
            optimizer.zero_grad(set_to_none=True)
            divergence.mean().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(adapter, 1.0)
            optimizer.step()
            schedule.step()
            advance()

    @torch.no_grad()
    def mean_divergence(self, lessons: Sequence[Lesson]) -> float:
        """The mean of `divergence` over all tokens of the lessons."""
        batches = [
            self.divergence(lessons[start : start + PROMPTS_PER_UPDATE])
            for start in range(0, len(lessons), PROMPTS_PER_UPDATE)
        ]
        return float(torch.cat(batches).mean())

    def divergence(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """KL(given the words, without the adapter || given the image, with it) at each token, in nats, (T,)."""
        with torch.no_grad(), active_adapter(self._policy, None):
            said = self._log_probabilities(lessons, in_words=True)
        shown = self._log_probabilities(lessons, in_words=False)
        return (said.exp() * (said - shown)).sum(dim=-1)

    def merged(self) -> Any:
        """The model with the adapter merged in."""
        return self._policy.merge_and_unload()

    def _reason(self, twins: Sequence[Twins]) -> list[Lesson]:
        """Samples one reasoning about each pair's words, without the adapter."""
        inputs = self._prompts(twins, in_words=True)
        with torch.inference_mode(), active_adapter(self._policy, None):
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=self._max_new_tokens,
                do_sample=True,
                suppress_tokens=self._forbidden,
            )
        completions = tokens[:, inputs["input_ids"].size(1) :].tolist()
        return [Lesson(pair, self._ended(ids)) for pair, ids in zip(twins, completions, strict=True)]

    def _ended(self, completion: list[int]) -> list[int]:
        """A completion up to the first token that ends it."""
        stops = set(self._model.generation_config.eos_token_id)
        end = next((index for index, token in enumerate(completion) if token in stops), len(completion))
        return completion[: end + 1]

    def _log_probabilities(self, lessons: Sequence[Lesson], *, in_words: bool) -> torch.Tensor:
        """The model's log-probabilities at each token of the lessons' reasonings, (T, V) float32."""
        inputs = dict(self._prompts([lesson.twins for lesson in lessons], in_words=in_words))
        longest = max(len(lesson.reasoning) for lesson in lessons)
        rows = [lesson.reasoning + [self._pad] * (longest - len(lesson.reasoning)) for lesson in lessons]
        lengths = torch.tensor([len(lesson.reasoning) for lesson in lessons])
        learnt = torch.arange(longest) < lengths[:, None]
        appended = {"input_ids": torch.tensor(rows), "attention_mask": learnt.long()}
        if "mm_token_type_ids" in inputs:
            appended["mm_token_type_ids"] = torch.zeros_like(learnt, dtype=torch.long)
        for name, values in appended.items():
            inputs[name] = torch.cat([inputs[name], values.to(inputs[name].dtype)], dim=1)
        logits = self._model(**inputs, logits_to_keep=longest + 1, use_cache=False).logits[:, :-1]
        said: torch.Tensor = logits[learnt].float().log_softmax(dim=-1)
        return said

    def _prompts(self, twins: Sequence[Twins], *, in_words: bool) -> Any:
        """The inputs of prompts, padded on the left."""
        chats = [pair.in_words if in_words else pair.messages for pair in twins]
        return self._processor(
            text=[
                self._processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
                for chat in chats
            ],
            images=None if in_words else [pair.grid.image for pair in twins],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
