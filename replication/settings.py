"""The settings of `python -m replication`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from replication.command import CommandSettings
from replication.extra_rows import read_extra_rows
from replication.rows import QUICK_ROWS, ROWS, Row

_ROOT = Path(__file__).resolve().parent.parent

TEST_SEED = 1
"""Seed of the pictures that results are reported on; what is tuned is tuned on others (the demo's are of seed 0)."""

TRAINING_SEED = 0
"""Seed of the pictures to train on."""

FOLLOWED_QUESTIONS = 100
"""How many questions of the test, the first, are also asked at each save of a run."""


class ReplicationSettings(CommandSettings):
    """Run rows of the table, each with several seeds, and write results.json, table.md and plots.

    What was run before is kept and not run again: stop it at any time, and start it again to go on.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m replication")

    rows: tuple[str, ...] = ()
    """Rows to run, by name, with commas between (default: all; with --quick or --extra-rows outcome-only and full); the
    base model is always examined, and extra rows are always run."""
    extra_rows: Path | None = None
    """TOML file with rows of your own, to be compared with the table's (docs/replication.md says how)."""
    seeds: int = Field(5, ge=1)
    """Seeds of each row: 0 to this, less one."""
    run: bool = True
    """Run what is missing; `--no-run` writes the results of the runs that are complete, and starts nothing."""
    quick: bool = False
    """Two rows, two seeds."""
    task: TaskName = "sums"
    """What is asked, of the tiny model that was taught it; `sums` is the table's."""
    runs: Path | None = None
    """Where runs are kept, one folder a row and seed (default: runs/replication; of other tasks than sums
    runs/replication-TASK)."""
    out: Path | None = None
    """Where results go (default: of the whole table docs/replication, of other tasks than sums docs/replication/TASK,
    with --quick the folder quick in it; of anything else the folder results in that of the runs)."""
    config: Path = _ROOT / "configs" / "replication.toml"
    """TOML file of what all runs share."""
    model: Path | None = None
    """The base model (default: the task's own in models/)."""
    images: int = Field(2000, ge=1)
    """Pictures to train on."""
    questions: int = Field(200, ge=1)
    """Questions of the test; half as many about combinations that were held out."""
    samples: int = Field(8, ge=1)
    """Rollouts a question at temperature 1."""
    parallel: int = Field(2, ge=1)
    """Runs at a time; they share the two servers."""

    @property
    def runs_folder(self) -> Path:
        """`runs`, or its default."""
        return self.runs or Path(f"runs/replication{self._of_task('-')}")

    @property
    def out_folder(self) -> Path:
        """`out`, or its default."""
        if self.out is not None:
            return self.out
        if self.is_whole_table:
            return Path(f"docs/replication{self._of_task('/')}{'/quick' if self.quick else ''}")
        return self.runs_folder / "results"

    @property
    def is_whole_table(self) -> bool:
        """Whether nothing is asked for but a task, --quick and how it is run: what the committed results are of."""
        return self.model_fields_set <= {"task", "quick", "run", "runs", "out", "parallel"}

    @property
    def model_folder(self) -> Path:
        """`model`, or its default."""
        return self.model or _ROOT / "models" / TASKS[self.task].model

    def _of_task(self, mark: str) -> str:
        return "" if self.task == "sums" else f"{mark}{self.task}"

    @cached_property
    def table(self) -> Mapping[str, Row]:
        """Every row by name, the extra ones last.

        Raises:
            SettingsError: The file of extra rows cannot be read, or a row in it is wrong.
        """
        return {**ROWS, **({} if self.extra_rows is None else read_extra_rows(self.extra_rows))}

    @property
    def wanted_rows(self) -> Sequence[Row]:
        """The base model, and the rows to run."""
        extra = [name for name in self.table if name not in ROWS]
        chosen = self.rows or (QUICK_ROWS if self.quick or extra else tuple(ROWS))
        return [self.table[name] for name in dict.fromkeys(("base", *chosen, *extra))]

    @model_validator(mode="after")
    def _rows_are_known(self) -> "ReplicationSettings":
        for name in self.rows:
            if name not in self.table:
                raise ValueError(f"rows: there is no row {name!r}; there are {', '.join(self.table)}")
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """What every run of a table shares.

    Attributes:
        task: What is asked.
        runs: Where runs are kept.
        config: TOML file of the trainer's settings.
        model: The base model.
        images: Pictures to train on.
        questions: Questions of the test.
        samples: Rollouts a question.
        reward_url: The reward server.
        rollout_url: The rollout server.
    """

    task: TaskName
    runs: Path
    config: Path
    model: Path
    images: int
    questions: int
    samples: int
    reward_url: str
    rollout_url: str

    @property
    def images_folder(self) -> Path:
        """The folder of the pictures to train on."""
        return self.runs / "inputs" / f"{self.task}-{self.images}-{TRAINING_SEED}"

    def folder(self, row: str, seed: int) -> Path:
        """The folder of a run."""
        return self.runs / row / str(seed)
