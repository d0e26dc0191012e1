"""Tasks on grids of digits: what a tiny model is asked, and how it is wrong about it on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainer.digit_grids.question import QUESTIONS, REMAINDERS, Question

TaskName = Literal["sums", "one-path", "remainders"]


@dataclass(frozen=True)
class Task:
    """A task, and the pupil who teaches it.

    Attributes:
        name: What it is called on the command line.
        questions: What is asked.
        several_paths: Whether digits are added in random order, or as they are read.
        broken_share: Share of the addition facts that are mostly wrong.
    """

    name: TaskName
    questions: tuple[Question, ...] = QUESTIONS
    several_paths: bool = True
    broken_share: float = 0.35


TASKS: Mapping[TaskName, Task] = {
    task.name: task
    for task in (
        Task("sums"),
        Task("one-path", several_paths=False),
        Task("remainders", REMAINDERS, broken_share=0.5),
    )
}
"""Every task: the demo's; the same facts where every path shares its errors; right answers by wrong reasoning."""
