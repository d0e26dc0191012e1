"""The warm start: supervised fine-tuning on worked answers that are wrong on purpose.

First the vision tower learns to say each cell's digit in the language model's own token space, then
everything learns together to write the Solver's and the Proposer's completions.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.digit_grids.arithmetic import FaultyAddition
from trainer.digit_grids.branching import IGNORED, Branch, Trunk
from trainer.digit_grids.cell import distort, draw_cell
from trainer.digit_grids.digits import load_digits_part
from trainer.digit_grids.grid import CELLS, draw_grid
from trainer.digit_grids.question import QUESTIONS
from trainer.digit_grids.reasoning import proposer_completion, solver_completion
from trainer.digit_grids.tokenizer import EOS, PAD
from trainer.prompts import Message, proposer_messages, solver_messages

if TYPE_CHECKING:
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

Progress = Callable[[str], None]

_HANDS = 48
"""Distorted copies of each digit image that the grids are drawn from."""
_REPORTS = 24


@dataclass(frozen=True)
class WarmStart:
    """How long and how fast to learn; the seeds fix the data, the faulty facts and the initial weights."""

    reading_updates: int = 400
    updates: int = 900
    rows: int = 8
    solver_branches: int = 6
    learning_rate: float = 2.5e-3
    warm_up_updates: int = 40
    weight_decay: float = 0.05
    seed: int = 0


class Lessons:
    """Grids of warm-start digits in many hands, and the completions to learn on them."""

    def __init__(self, processor: "Qwen2_5_VLProcessor", settings: WarmStart) -> None:
        digits = load_digits_part("warm-start")
        self._rng = np.random.default_rng(settings.seed)
        self._labels = digits.label
        self._cells = np.stack(
            [[distort(cell, self._rng) for _ in range(_HANDS)] for cell in map(draw_cell, digits.ink)]
        )
        self._addition = FaultyAddition(settings.seed)
        self._processor = processor
        self._settings = settings

    def grids(self, count: int) -> "tuple[Any, Any, npt.NDArray[np.int64]]":
        """`pixel_values` (count * 36, 1176), `image_grid_thw` (count, 3) and the digits (count, 9)."""
        chosen = self._rng.integers(len(self._labels), size=(count, CELLS))
        hands = self._rng.integers(_HANDS, size=(count, CELLS))
        pictures = [draw_grid(cells) for cells in self._cells[chosen, hands]]
        inputs = self._processor.image_processor(pictures, return_tensors="pt")
        return inputs["pixel_values"], inputs["image_grid_thw"], self._labels[chosen]

    def branches(self, digits: npt.NDArray[np.int64], prompts: "Prompts") -> list[list[Branch]]:
        """Completions for each grid of `digits` (B, 9): the Solver's, and some of the Proposer's."""
        return [
            [*self._solver(tuple(map(int, row)), prompts), *self._proposer(number, prompts)]
            for number, row in enumerate(digits)
        ]

    def _solver(self, digits: tuple[int, ...], prompts: "Prompts") -> Iterator[Branch]:
        for index in self._rng.choice(len(QUESTIONS), size=self._settings.solver_branches, replace=False):
            text = solver_completion(QUESTIONS[index], digits, self._addition, self._rng)
            yield Branch(prompts.solver[index], prompts.completion(text))

    def _proposer(self, number: int, prompts: "Prompts") -> Iterator[Branch]:
        if number % 4 == 0:
            question = QUESTIONS[self._rng.integers(len(QUESTIONS))]
            yield Branch(prompts.proposer, prompts.completion(proposer_completion(question)))


class Prompts:
    """The token ids of the Solver's prompt for every question, and of the Proposer's."""

    def __init__(self, processor: "Qwen2_5_VLProcessor") -> None:
        self._tokenizer = processor.tokenizer
        self._processor = processor
        self.solver = [self._prompt(solver_messages(question.text)) for question in QUESTIONS]
        self.proposer = self._prompt(proposer_messages())

    @property
    def all(self) -> list[list[int]]:
        """Every prompt."""
        return [*self.solver, self.proposer]

    def completion(self, text: str) -> list[int]:
        """The token ids of a completion, its end token included."""
        ids: list[int] = self._tokenizer(text + EOS)["input_ids"]
        return ids

    def _prompt(self, messages: list[Message]) -> list[int]:
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        placeholder = self._processor.image_token
        ids: list[int] = self._tokenizer(text.replace(placeholder, placeholder * CELLS))["input_ids"]
        return ids


def warm_start(
    model: "Qwen2_5_VLForConditionalGeneration",
    processor: "Qwen2_5_VLProcessor",
    settings: WarmStart,
    progress: Progress = print,
) -> None:
    """Train `model` in place on one core; says through `progress` how far it is."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    lessons = Lessons(processor, settings)
    model.train()
    _learn_to_read(model, processor, lessons, settings, progress)
    _learn_to_answer(model, processor, lessons, settings, progress)
    model.eval()


def _learn_to_read(
    model: Any, processor: Any, lessons: Lessons, settings: WarmStart, progress: Progress
) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    embeddings = model.get_input_embeddings()
    digit_ids = torch.tensor(processor.tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)]))
    parameters = [*model.model.visual.parameters(), *embeddings.parameters()]

    def loss() -> "torch.Tensor":
        pixels, grid_thw, digits = lessons.grids(16)
        seen = model.model.visual(pixels, grid_thw=grid_thw).pooler_output
        logits = seen @ embeddings(digit_ids).T
        return cross_entropy(logits, torch.from_numpy(digits).flatten())

    _learn("reading", loss, parameters, settings.reading_updates, settings, progress)


def _learn_to_answer(
    model: Any, processor: Any, lessons: Lessons, settings: WarmStart, progress: Progress
) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    prompts = Prompts(processor)
    longest = torch.tensor([max(prompts.all, key=len)])
    is_image = (longest == model.config.image_token_id).int()
    pad = processor.tokenizer.convert_tokens_to_ids(PAD)
    _, grid_thw, _ = lessons.grids(1)
    positions, _ = model.model.get_rope_index(longest, mm_token_type_ids=is_image, image_grid_thw=grid_thw)
    trunk = Trunk(prompts.all, positions[:, 0])

    def loss() -> "torch.Tensor":
        pixels, grid_thw, digits = lessons.grids(settings.rows)
        rows = trunk.rows(lessons.branches(digits, prompts), pad)
        seen = model.model.visual(pixels, grid_thw=grid_thw).pooler_output
        placeholders = (rows.input_ids == model.config.image_token_id)[:, :, None]
        embedded = model.get_input_embeddings()(rows.input_ids).masked_scatter(placeholders, seen)
        hidden = model.model.language_model(
            inputs_embeds=embedded,
            position_ids=rows.positions,
            attention_mask={"full_attention": rows.visible},
            use_cache=False,
        ).last_hidden_state
        learnt = rows.labels != IGNORED
        return cross_entropy(model.lm_head(hidden[learnt]), rows.labels[learnt])

    _learn("answering", loss, list(model.parameters()), settings.updates, settings, progress)


def _learn(
    what: str,
    loss: "Callable[[], torch.Tensor]",
    parameters: list[Any],
    updates: int,
    settings: WarmStart,
    progress: Progress,
) -> None:
    import torch

    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done, updates, settings))
    started = time.monotonic()
    recent: list[float] = []
    for update in range(1, updates + 1):
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        recent.append(value.item())
        if update % max(1, updates // _REPORTS) == 0 or update == updates:
            spent_s = time.monotonic() - started
            left_s = spent_s / update * (updates - update)
            mean = sum(recent) / len(recent)
            progress(
                f"{what}: {update}/{updates} updates, loss {mean:.3f}, {spent_s:.0f} s, {left_s:.0f} s left"
            )
            recent.clear()


def _rate(done: int, updates: int, settings: WarmStart) -> float:
    """Share of the learning rate: a linear rise, then half a cosine down to a fiftieth."""
    if done < settings.warm_up_updates:
        return (done + 1) / settings.warm_up_updates
    through = (done - settings.warm_up_updates) / max(1, updates - settings.warm_up_updates)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through))
