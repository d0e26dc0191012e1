"""The warm start: supervised fine-tuning on worked answers that are wrong on purpose.

First the vision tower learns to name the contents of each cell in the language model's token space; then the whole
model learns to write the Solver's and the Proposer's completions.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from ireasoner.trainer.rollouts.prompts import Message, proposer_messages, solver_messages
from ireasoner.trainer.tiny_model.branching import IGNORED, Branch, Trunk
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.tiny_model.tokenizer import EOS, PAD
from ireasoner.trainer.tiny_model.worked_answer import (
    FaultyAddition,
    proposal,
    right_beginning,
    worked_answer,
)
from ireasoner.trainer.worlds.world import CELLS, UNSAID, LessonPicture

if TYPE_CHECKING:
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

Progress = Callable[[str], None]
Taught = Callable[[LessonPicture, "Prompts"], list[Branch]]

_PROPOSAL_SHARE = 0.25
_REPORTS = 24


class WarmStart(BaseModel):
    """What to learn, for how long and how fast."""

    task: TaskName = Field("sums", description="task to teach")
    cell_updates: int = Field(800, ge=1, description="updates that teach only reading cells")
    opening_updates: int = Field(400, ge=1, description="updates that teach only first steps")
    answer_updates: int = Field(650, ge=1, description="updates that teach whole answers and proposals")
    pictures: int = Field(8, ge=1, description="pictures per update")
    questions: int = Field(6, ge=1, le=12, description="questions per picture")
    learning_rate: float = Field(2.5e-3, gt=0, description="peak learning rate of each of the three phases")
    rising_updates: int = Field(40, ge=1, description="updates of linear warm-up in each phase")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay")
    seed: int = Field(0, description="seed of initial weights, data and broken facts")


class Lessons:
    """Pictures of a task's world, and the completions to learn about them."""

    def __init__(self, processor: "Qwen2_5_VLProcessor", settings: WarmStart) -> None:
        self._rng = np.random.default_rng(settings.seed)
        self._task = TASKS[settings.task]
        self._draw = self._task.world.lessons(self._rng)
        self._addition = FaultyAddition(settings.seed, self._task.faults)
        self._processor = processor
        self._settings = settings

    def pictures(self, count: int) -> "tuple[Any, Any, Sequence[LessonPicture]]":
        """`pixel_values` (count * 36, 1176), `image_grid_thw` (count, 3) and the pictures themselves."""
        pictures = self._draw(count)
        inputs = self._processor.image_processor([p.image for p in pictures], return_tensors="pt")
        return inputs["pixel_values"], inputs["image_grid_thw"], pictures

    def openings(self, picture: LessonPicture, prompts: "Prompts") -> list[Branch]:
        """First steps of the Solver."""
        return [
            Branch(prompts.solver[asked.text], prompts.tokens(right_beginning(asked, self._rng)))
            for asked in picture.to_open(self._rng)
        ]

    def completions(self, picture: LessonPicture, prompts: "Prompts") -> list[Branch]:
        """Completions of the Solver for several questions, and sometimes one of the Proposer."""
        branches = []
        for asked in picture.to_answer(self._settings.questions, self._rng):
            text = worked_answer(
                asked,
                self._addition,
                self._rng,
                several_paths=self._task.several_paths,
                misread=self._task.misread_share,
            )
            branches.append(Branch(prompts.solver[asked.text], prompts.tokens(text + EOS)))
        if self._rng.random() < _PROPOSAL_SHARE:
            text = proposal(picture.to_propose(self._rng))
            branches.append(Branch(prompts.proposer, prompts.tokens(text + EOS)))
        return branches


class Prompts:
    """Token ids of the Solver's prompt for every question, by its text, and of the Proposer's prompt."""

    def __init__(self, processor: "Qwen2_5_VLProcessor", questions: Sequence[str]) -> None:
        self._tokenizer = processor.tokenizer
        self._processor = processor
        self.solver = {text: self._prompt(solver_messages(text)) for text in questions}
        self.proposer = self._prompt(proposer_messages())

    @property
    def all(self) -> list[list[int]]:
        """Every prompt."""
        return [*self.solver.values(), self.proposer]

    def tokens(self, text: str) -> list[int]:
        """The token ids of `text`."""
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids

    def _prompt(self, messages: list[Message]) -> list[int]:
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        placeholder = self._processor.image_token
        return self.tokens(text.replace(placeholder, placeholder * CELLS))


def warm_start(
    model: "Qwen2_5_VLForConditionalGeneration",
    processor: "Qwen2_5_VLProcessor",
    settings: WarmStart,
    progress: Progress = print,
) -> None:
    """Trains `model` in place on one core, and reports to `progress`."""
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
    word_ids = [
        torch.tensor(processor.tokenizer(list(words))["input_ids"]).flatten()
        for words in TASKS[settings.task].world.cell_words
    ]
    position = torch.nn.Linear(embeddings.embedding_dim, CELLS)
    parameters = [*model.model.visual.parameters(), *embeddings.parameters(), *position.parameters()]

    def loss() -> "torch.Tensor":
        pixels, grid_thw, pictures = lessons.pictures(2 * settings.pictures)
        seen = model.model.visual(pixels, grid_thw=grid_thw).pooler_output
        said = torch.tensor([picture.words for picture in pictures])
        losses = [
            cross_entropy(seen @ embeddings(ids).T, said[:, index].flatten(), ignore_index=UNSAID)
            for index, ids in enumerate(word_ids)
        ]
        return sum(losses) + cross_entropy(position(seen), torch.arange(CELLS).repeat(len(pictures)))

    _learn("cells", loss, parameters, settings.cell_updates, settings, progress)


def _learn_to_answer(
    model: Any, processor: Any, lessons: Lessons, settings: WarmStart, progress: Progress
) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    prompts = Prompts(processor, TASKS[settings.task].world.question_texts)
    longest = torch.tensor([max(prompts.all, key=len)])
    is_image = (longest == model.config.image_token_id).int()
    pad = processor.tokenizer.convert_tokens_to_ids(PAD)
    _, grid_thw, _ = lessons.pictures(1)
    positions, _ = model.model.get_rope_index(longest, mm_token_type_ids=is_image, image_grid_thw=grid_thw)
    trunk = Trunk(prompts.all, positions[:, 0])

    def loss(taught: Taught) -> "torch.Tensor":
        pixels, grid_thw, pictures = lessons.pictures(settings.pictures)
        rows = trunk.rows([taught(picture, prompts) for picture in pictures], pad)
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

    parameters = list(model.parameters())
    _learn(
        "first steps",
        lambda: loss(lessons.openings),
        parameters,
        settings.opening_updates,
        settings,
        progress,
    )
    _learn(
        "answers", lambda: loss(lessons.completions), parameters, settings.answer_updates, settings, progress
    )


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
    """Factor on the learning rate: linear warm-up, then cosine decay to 2%."""
    if done < settings.rising_updates:
        return (done + 1) / settings.rising_updates
    through = (done - settings.rising_updates) / max(1, updates - settings.rising_updates)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through))
