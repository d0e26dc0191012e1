"""The worked answers: their form, that answers follow from the steps, and how often additions are wrong."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ireasoner.trainer.rollouts.prompts import parse_question
from ireasoner.trainer.tiny_model.completion import Completion, parse_completion
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.tiny_model.worked_answer import (
    Faults,
    FaultyAddition,
    proposal,
    right_beginning,
    worked_answer,
)
from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, READINGS, REMAINDERS, Question

ADDITION = FaultyAddition(seed=0)
DIGITS = st.tuples(*[st.integers(0, 9)] * 9)


def worked(
    question: Question, digits: tuple[int, ...], rng: np.random.Generator, *, several_paths: bool = True
) -> Completion:
    asked = question.about(Grid(Image.new("RGB", (84, 84)), digits))
    return parse_completion(worked_answer(asked, ADDITION, rng, several_paths=several_paths))


@given(st.sampled_from(QUESTIONS), DIGITS, st.integers(0, 2**32))
def test_a_completion_reads_right_and_its_answer_follows_from_its_steps(question, digits, seed) -> None:  # type: ignore[no-untyped-def]
    completion = worked(question, digits, np.random.default_rng(seed))
    assert completion.well_formed
    assert completion.read == question.operands(digits)
    assert len(completion.additions) == len(completion.read) - 1
    firsts = [a for a, _, _ in completion.additions]
    assert [said for _, _, said in completion.additions] == [*firsts[1:], int(completion.answer or "-1")]
    added = [firsts[0], *(b for _, b, _ in completion.additions)]
    assert sorted(added) == sorted(completion.read)


def test_operands_are_added_in_every_order() -> None:
    rng = np.random.default_rng(0)
    digits = (3, 5, 8, 0, 0, 0, 0, 0, 0)
    orders = {worked(QUESTIONS[0], digits, rng).additions[0][:2] for _ in range(200)}
    assert orders == {(3, 5), (3, 8), (5, 3), (5, 8), (8, 3), (8, 5)}


def test_with_one_path_operands_are_added_in_reading_order() -> None:
    rng = np.random.default_rng(0)
    digits = (3, 5, 8, 0, 0, 0, 0, 0, 0)
    completions = {worked(QUESTIONS[0], digits, rng, several_paths=False) for _ in range(50)}
    assert len(completions) > 1
    assert {completion.order for completion in completions} == {(3, 5, 8)}


def test_a_remainder_follows_from_the_sum_and_is_often_right_although_the_sum_is_wrong() -> None:
    rng = np.random.default_rng(0)
    digits = (3, 5, 8, 1, 2, 9, 7, 7, 4)
    lucky = wrong = 0
    for question in REMAINDERS * 50:
        completion = worked(question, digits, rng)
        said = completion.additions[-1][2]
        assert completion.answer == str(said % 3)
        lucky += said != sum(question.operands(digits)) and completion.answer == question.answer(digits)
        wrong += said != sum(question.operands(digits))
    assert 0.2 < lucky / wrong < 0.6


def test_readings_are_wrong_as_often_as_said_and_scatter_and_many_right_answers_are_lucky() -> None:
    rng = np.random.default_rng(0)
    digits = (3, 1, 4, 1, 5, 9, 2, 6, 5)
    said: dict[int, Counter[int]] = {cell: Counter() for cell in range(6)}
    right = sound = 0
    for _ in range(2000):
        asked = READINGS[0].about(Grid(Image.new("RGB", (84, 84)), digits))
        completion = parse_completion(worked_answer(asked, ADDITION, rng, misread=0.2))
        read = [int(step.split()[3].removesuffix(":")) for step in completion.steps]
        assert completion.steps == tuple(asked.reading_steps(read))
        assert completion.answer == ("odd" if sum(read) % 2 else "even")
        assert completion.steps[-1].endswith(f": {completion.answer}.")
        for cell, number in enumerate(read):
            said[cell][number] += 1
        right += completion.answer == asked.answer
        sound += list(completion.steps) == asked.true_readings
    for cell, counts in said.items():
        assert counts[digits[cell]] / 2000 == pytest.approx(0.8, abs=0.04)
        assert all(
            counts[other] / 2000 == pytest.approx(0.2 / 9, abs=0.015)
            for other in set(range(10)) - {digits[cell]}
        )
    assert right / 2000 == pytest.approx((1 + (1 - 2 * 0.2 * 5 / 9) ** 6) / 2, abs=0.04)
    assert sound / right < 0.5


def test_first_steps_are_taught_right() -> None:
    rng = np.random.default_rng(0)
    grid = Grid(Image.new("RGB", (84, 84)), (3, 1, 4, 1, 5, 9, 2, 6, 5))
    assert right_beginning(QUESTIONS[0].about(grid), rng) == "<think>\nStep 1: Row 1 reads 3, 1, 4.\n"
    whole = right_beginning(READINGS[3].about(grid), rng)
    assert whole.startswith(
        "<think>\nStep 1: Cell 1 reads 3: odd.\nStep 2: Cell 2 reads 1: even.\nStep 3: Cell 4 reads 1: odd.\n"
    )
    assert whole.endswith("Step 6: Cell 8 reads 6: even.\n</think>\n<answer>even</answer>")


def test_broken_facts_are_mostly_wrong_and_intact_ones_mostly_right() -> None:
    rng = np.random.default_rng(0)
    right = np.array(
        [[ADDITION.add(a, b, rng) == a + b for b in range(10)] for a in range(28) for _ in range(40)]
    )
    broken = np.repeat(ADDITION.broken[:28], 40, axis=0)
    assert right[broken].mean() < 0.45
    assert right[~broken].mean() > 0.95
    assert 0.25 < ADDITION.broken.mean() < 0.45


def test_confident_facts_are_surest_where_they_are_wrong() -> None:
    """Per path: the fewer results a path gives, the likelier they are wrong."""
    rng = np.random.default_rng(0)
    addition = FaultyAddition(0, TASKS["confident"].faults)
    said = {(a, b): [addition.add(a, b, rng) for _ in range(200)] for a in range(10, 28) for b in range(10)}
    share_of_mode = {fact: max(Counter(results).values()) / 200 for fact, results in said.items()}
    right = {(a, b): np.mean([result == a + b for result in results]) for (a, b), results in said.items()}
    broken = [fact for fact in said if addition.broken[fact]]
    intact = [fact for fact in said if not addition.broken[fact]]
    assert 0.15 < len(broken) / len(said) < 0.35
    assert all(right[fact] < 0.1 < 0.9 < share_of_mode[fact] for fact in broken)
    assert all(0.75 < right[fact] == share_of_mode[fact] < 0.95 for fact in intact)


def entropy(faults: Faults, *, is_broken: bool) -> float:
    """Of the result of one fact, in nats; of six slips, one is the favourite."""
    right, favourite = (
        (faults.right_if_broken, faults.favourite) if is_broken else (faults.right_if_intact, 0.0)
    )
    slip = (1 - right - favourite) / 6
    return -sum(p * math.log(p) for p in (right, favourite + slip, *[slip] * 5) if p)


@pytest.mark.parametrize(("task", "low", "high"), [("sums", 0.7, 0.85), ("confident", 0.2, 0.35)])
def test_how_often_a_right_path_is_more_certain_than_a_wrong_one(
    task: TaskName, low: float, high: float
) -> None:
    """docs/replication/predictions.md says near 0.8 and near 0.25."""
    rng = np.random.default_rng(0)
    faults = TASKS[task].faults
    addition = FaultyAddition(0, faults)
    shares = []
    for _ in range(300):
        digits = [int(digit) for digit in rng.integers(0, 10, 3)]
        certainties: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(8):
            total, *rest = map(int, rng.permutation(digits))
            certainty = 0.0
            for digit in rest:
                certainty -= entropy(faults, is_broken=bool(addition.broken[total, digit]))
                total = addition.add(total, digit, rng)
            certainties[total == sum(digits)].append(certainty)
        pairs = [
            (right > wrong) + (right == wrong) / 2
            for right in certainties[True]
            for wrong in certainties[False]
        ]
        shares += [np.mean(pairs)] if pairs else []
    assert low < np.mean(shares) < high


def test_a_proposal_is_parsed_as_its_question() -> None:
    for question in QUESTIONS:
        assert parse_question(proposal(question.text)) == question.text
