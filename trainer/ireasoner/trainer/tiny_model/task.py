"""Tasks: what a tiny model is asked, and how it is wrong on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ireasoner.trainer.tiny_model.worked_answer import USUAL, Faults
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, READINGS, REMAINDERS
from ireasoner.trainer.worlds.digit_grids.world import DigitGrids
from ireasoner.trainer.worlds.scenes.world import Scenes
from ireasoner.trainer.worlds.world import World

TaskName = Literal["sums", "one-path", "confident", "remainders", "readings", "scenes"]


@dataclass(frozen=True)
class Task:
    """A task, and how its tiny model is wrong.

    Attributes:
        name: Name on the command line.
        world: Source of pictures and questions.
        model: Folder of its tiny model in `models/`.
        several_paths: Whether operands are added in random order, or in reading order.
        faults: How often its additions are wrong.
        misread_share: Share of the readings that are wrong, where every step reads one cell.
    """

    name: TaskName
    world: World
    model: str
    several_paths: bool = True
    faults: Faults = USUAL
    misread_share: float = 0.0


TASKS: Mapping[TaskName, Task] = {
    task.name: task
    for task in (
        Task("sums", DigitGrids(QUESTIONS), "digit-grids"),
        Task("one-path", DigitGrids(QUESTIONS), "digit-grids-one-path", several_paths=False),
        Task(
            "confident",
            DigitGrids(QUESTIONS),
            "digit-grids-confident",
            faults=Faults(0.25, right_if_broken=0.02, favourite=0.96, right_if_intact=0.85),
        ),
        Task("remainders", DigitGrids(REMAINDERS), "digit-grids-remainders", faults=Faults(broken=0.5)),
        Task("readings", DigitGrids(READINGS), "digit-grids-readings", misread_share=0.2),
        Task("scenes", Scenes(), "scenes"),
    )
}
"""Every task: the demo's; the same facts with a single path, which all samples share; facts that are nearly always
wrong beside others that are right most of the time; right answers by wrong reasoning; right answers by wrong readings,
which two samples seldom share; and shapes and bars with several kinds of question."""
