"""The warm start teaches the model to say of an image what it says itself of its text twin."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor
from ireasoner.trainer.graft import self_distillation
from ireasoner.trainer.graft.self_distillation import Lesson, Student, warm_start
from ireasoner.trainer.graft.text_twin import Twins, drawn_twins, in_words
from ireasoner.trainer.rollouts.prompts import (
    PROPOSER_INSTRUCTIONS,
    SOLVER_INSTRUCTIONS,
    solver_messages,
    text_of,
)
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import random_grids

TOKENS = 12


@pytest.fixture
def seeing(seeing_folder: Path) -> tuple[Any, Any]:
    """A model that sees a little, and its processor."""
    return load_backbone(str(seeing_folder), "auto").eval(), load_processor(str(seeing_folder))


@pytest.fixture
def student(seeing: tuple[Any, Any]) -> Student:
    torch.manual_seed(0)
    return Student(*seeing, TOKENS)


def test_a_text_twin_says_the_same_grid_in_words() -> None:
    [grid] = random_grids(load_digits_part("held-out"), 1, seed=0)
    twins = Twins(grid, solver_messages("What is the sum of row 2?"))
    assert [part["type"] for part in twins.messages[0]["content"]] == ["image", "text"]
    assert [part["type"] for part in twins.in_words[0]["content"]] == ["text", "text"]
    assert text_of(twins.in_words) == in_words(grid) + text_of(twins.messages)
    a, b, c, d, e, f, g, h, i = grid.digits
    assert in_words(grid) == (
        f"The image shows a grid of digits.\nRow 1: {a}, {b}, {c}\nRow 2: {d}, {e}, {f}\nRow 3: {g}, {h}, {i}\n"
    )


def test_prompts_of_both_roles_are_drawn_and_no_grid_twice() -> None:
    drawn = list(islice(drawn_twins("warm-start", np.random.default_rng(0)), 80))
    proposer = [twins for twins in drawn if PROPOSER_INSTRUCTIONS in text_of(twins.messages)]
    solver = [twins for twins in drawn if SOLVER_INSTRUCTIONS in text_of(twins.messages)]
    assert len(proposer) + len(solver) == 80
    assert 8 < len(proposer) < 35
    assert len({text_of(twins.messages) for twins in solver}) > 8
    assert len({twins.grid.digits for twins in drawn}) == 80


def test_a_reasoning_ends_with_the_token_that_ends_it(student: Student, seeing: tuple[Any, Any]) -> None:
    lessons = list(islice(student.lessons("warm-start", np.random.default_rng(0), 16), 32))
    [end] = seeing[0].generation_config.eos_token_id
    forbidden = set(seeing[1].tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"]))
    assert len({tuple(lesson.reasoning) for lesson in lessons}) > 16
    for lesson in lessons:
        assert 1 <= len(lesson.reasoning) <= TOKENS
        assert end not in lesson.reasoning[:-1]
        assert len(lesson.reasoning) == TOKENS or lesson.reasoning[-1] == end
        assert not forbidden & set(lesson.reasoning)


def test_a_reasoning_goes_on_where_it_stopped(
    student: Student, seeing: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts of 2, 4 and 6 tokens, each after the prompt and all that was said; what has ended is left out."""
    end = seeing[0].generation_config.eos_token_id[0]
    said = {0: [70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81], 1: [90, end], 2: [91, 92, 93, end]}
    asked: list[list[list[int]]] = []

    def continued(texts: list[list[int]], count: int) -> list[list[int]]:
        asked.append(texts)
        going = [number for number, tokens in said.items() if len(tokens) > (0, 2, 6)[len(asked) - 1]]
        start = (0, 2, 6)[len(asked) - 1]
        return [said[number][start : start + count] for number in going]

    monkeypatch.setattr(self_distillation, "_FIRST_TOKENS", 2)
    monkeypatch.setattr(student, "_continued", continued)
    twins = list(islice(drawn_twins("warm-start", np.random.default_rng(3)), 3))
    lessons = student._reason(twins)
    assert [lesson.reasoning for lesson in lessons] == list(said.values())
    assert [len(texts) for texts in asked] == [3, 2, 1]
    prompts = asked[0]
    assert asked[1] == [prompts[0] + said[0][:2], prompts[2] + said[2][:2]]
    assert asked[2] == [prompts[0] + said[0][:6]]
    tokenizer = seeing[1].tokenizer
    for prompt, pair in zip(prompts, twins, strict=True):
        text = tokenizer.apply_chat_template(pair.in_words, add_generation_prompt=True, tokenize=False)
        assert prompt == tokenizer(text)["input_ids"]


def test_the_head_gets_no_slice(student: Student, seeing: tuple[Any, Any]) -> None:
    """Without gradients torch copies the frozen weight of a Linear for each sequence of a slice."""
    slices: list[torch.Size] = []

    def look(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        shape = inputs[0].shape
        if inputs[0].stride() != torch.empty(shape).stride():
            slices.append(shape)

    seeing[0].get_output_embeddings().register_forward_hook(look)
    for count in (1, 4):
        lessons = list(islice(student.lessons("warm-start", np.random.default_rng(0), count), count))
        student.measured(lessons)
        student.divergence(lessons)
    assert slices == []


@torch.no_grad()
def test_the_divergence_is_that_of_each_token_alone(student: Student, seeing: tuple[Any, Any]) -> None:
    """Padding and the rest of the batch do not matter; it is computed here from the logits of one prompt at a time."""
    model, processor = seeing
    [first, second] = islice(drawn_twins("warm-start", np.random.default_rng(3)), 2)
    lessons = [Lesson(first, [70, 71, 72]), Lesson(second, [80, 81, 82, 83, 84])]
    expected = []
    for lesson in lessons:
        both = []
        for chat, images in (
            (lesson.twins.in_words, None),
            (lesson.twins.messages, [lesson.twins.grid.image]),
        ):
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            said = processor.tokenizer.decode(lesson.reasoning)
            inputs = processor(text=[text + said], images=images, return_tensors="pt")
            assert inputs["input_ids"][0, -len(lesson.reasoning) :].tolist() == lesson.reasoning
            logits = model(**inputs).logits[0, -len(lesson.reasoning) - 1 : -1]
            both.append(logits.double().log_softmax(dim=-1))
        words, image = both
        expected.append((words.exp() * (words - image)).sum(dim=-1))
    divergence = student.divergence(lessons)
    assert divergence.shape == (8,)
    assert torch.allclose(divergence.double(), torch.cat(expected), atol=1e-4)
    assert (divergence > 1e-3).any()


@torch.no_grad()
def test_it_is_measured_with_the_own_image_and_with_that_of_another_grid(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the tokens of all batches, of which the last is not full."""
    drawn = list(islice(drawn_twins("held-out", np.random.default_rng(4)), 9))
    lessons = [Lesson(twins, list(range(70, 71 + index))) for index, twins in enumerate(drawn)]
    measured = student.measured(lessons)
    own = student.divergence(lessons)
    assert own.shape == (45,)
    assert measured.own == pytest.approx(own.mean().item(), rel=1e-5)
    images = [*drawn[1:], drawn[0]]
    shown = [replace(twins, grid=other.grid) for twins, other in zip(drawn, images, strict=True)]
    words = {id(other): twins.in_words for twins, other in zip(drawn, shown, strict=True)}
    monkeypatch.setattr(Twins, "in_words", property(lambda twins: words[id(twins)]))
    other = student.divergence(
        [replace(lesson, twins=twins) for lesson, twins in zip(lessons, shown, strict=True)]
    )
    assert measured.other == pytest.approx(other.mean().item(), rel=1e-5)
    assert measured.own != pytest.approx(measured.other, rel=1e-4), "else this test shows nothing"


def test_it_comes_nearer_to_its_own_words_and_keeps_its_tower(seeing: tuple[Any, Any]) -> None:
    model, processor = seeing
    tower = {name: weight.clone() for name, weight in model.model.visual.state_dict().items()}
    names = set(model.state_dict())
    losses: list[float] = []
    warmed = warm_start(
        model, processor, 12, prompts_per_update=4, max_new_tokens=TOKENS, seed=0, advance=losses.append
    )
    assert len(losses) == warmed.updates == 12
    assert warmed.after is not None
    assert 0 < warmed.after.own < 0.99 * warmed.before.own
    assert set(warmed.model.state_dict()) == names, "no adapter is left"
    for name, weight in warmed.model.model.visual.state_dict().items():
        assert torch.equal(weight, tower[name]), name


def test_a_stopped_warm_start_keeps_what_was_learnt_and_the_dtype(seeing: tuple[Any, Any]) -> None:
    model, processor = seeing
    model.to(torch.bfloat16)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    answers = iter([False, False, True, True])
    warmed = warm_start(
        model,
        processor,
        9,
        prompts_per_update=2,
        max_new_tokens=3,
        seed=0,
        stopped=lambda: next(answers),
    )
    assert warmed.updates == 2
    assert warmed.after is None
    after = warmed.model.state_dict()
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(".language_model." in name for name in changed)


def test_a_warm_start_that_is_stopped_while_it_is_measured_changes_nothing(seeing: tuple[Any, Any]) -> None:
    model, processor = seeing
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    warmed = warm_start(
        model, processor, 9, prompts_per_update=2, max_new_tokens=3, seed=0, stopped=lambda: True
    )
    assert (warmed.updates, warmed.after) == (0, None)
    assert all(torch.equal(weight, before[name]) for name, weight in warmed.model.state_dict().items())
