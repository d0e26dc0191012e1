"""The settings of `python -m replication`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from replication.arms import ARMS, QUICK_ARMS, Arm
from replication.command import CommandSettings
from replication.extra_arms import read_extra_arms
from replication.studies import STUDIES, TABLE_AND_STUDIES, StudyName

_ROOT = Path(__file__).resolve().parent.parent

TEST_SEED = 1
"""Default seed of the test images. Settings are tuned on images of other seeds (the demo's have seed 0)."""

TRAINING_SEED = 0
"""Seed of the training images."""

FOLLOWED_QUESTIONS = 100
"""Number of test questions, the first ones, that are also answered at each save of a run."""

_UNREACHABLE = "http://127.0.0.1:1"
"""The URL of a server that has not started."""


class ReplicationSettings(CommandSettings):
    """Run the arms of the table, each with several seeds, and write results.json, table.md and plots.

    Complete runs are kept and not run again: stop the command at any time, and start it again to continue.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m replication")

    arms: tuple[str, ...] = ()
    """Names of the arms to run, separated by commas (default: all; with --quick or --extra-arms: outcome-only and
    full). The base model is always evaluated, and extra arms are always run."""
    extra_arms: Path | None = None
    """TOML file with your own arms, to compare with those of the table (see docs/replication/own-arms.md)."""
    seeds: int = Field(5, ge=1)
    """Number of seeds per arm."""
    first_seed: int = Field(0, ge=0)
    """The first of them."""
    run: bool = True
    """Run what is missing. `--no-run` starts nothing and writes the results of the complete runs."""
    quick: bool = False
    """Run two arms with two seeds."""
    study: StudyName | None = None
    """Run the arms of a study (docs/replication/predictions.md) instead of the table's. It also sets the number of
    questions and the task, unless they are given."""
    task: TaskName = "sums"
    """The task; each has its own tiny model. The main table is about `sums`."""
    runs: Path | None = None
    """Folder of the runs, with one subfolder per arm and seed (default: runs/replication; for tasks other than sums
    runs/replication-TASK; for a study runs/replication-STUDY)."""
    out: Path | None = None
    """Folder of the results (default: for a whole table docs/replication, for tasks other than sums
    docs/replication/TASK, for a whole study docs/replication/STUDY, with --quick its subfolder quick; otherwise the
    subfolder results of the runs)."""
    config: Path = _ROOT / "configs" / "replication.toml"
    """TOML file with the settings that all runs share."""
    model: Path | None = None
    """The base model (default: the task's own in models/)."""
    images: int = Field(2000, ge=1)
    """Number of training images."""
    questions: int = Field(200, ge=1)
    """Number of test questions; half as many are asked about held-out combinations."""
    samples: int = Field(8, ge=1)
    """Rollouts per question at temperature 1."""
    test_seed: int = Field(TEST_SEED, ge=0)
    """Seed of the test images. Another one asks other questions of the same kind."""
    parallel: int = Field(2, ge=1)
    """Runs at a time; they share the two servers."""

    @property
    def runs_folder(self) -> Path:
        """`runs`, or its default."""
        return self.runs or Path(f"runs/replication{self._suffix('-')}")

    @property
    def out_folder(self) -> Path:
        """`out`, or its default."""
        if self.out is not None:
            return self.out
        if self.is_whole_table:
            return Path(f"docs/replication{self._suffix('/')}{'/quick' if self.quick else ''}")
        return self.runs_folder / "results"

    @property
    def is_whole_table(self) -> bool:
        """Whether only the task, the study, --quick and the way of running are set, as for the committed results."""
        fixed = {} if self.study is None else STUDIES[self.study].settings
        free = {"study", "quick", "run", "runs", "out", "parallel"} | (
            {"task"} if self.study is None else set()
        )
        return self.model_fields_set <= free | fixed.keys() and all(
            getattr(self, name) == value for name, value in fixed.items()
        )

    @property
    def model_folder(self) -> Path:
        """`model`, or its default."""
        return self.model or _ROOT / "models" / TASKS[self.task].model

    def _suffix(self, separator: str) -> str:
        name = self.study or ("" if self.task == "sums" else self.task)
        return f"{separator}{name}" if name else ""

    @cached_property
    def table(self) -> Mapping[str, Arm]:
        """Every arm by name, the extra ones last.

        Raises:
            SettingsError: The file of extra arms cannot be read, or an arm in it is wrong.
        """
        return {**TABLE_AND_STUDIES, **({} if self.extra_arms is None else read_extra_arms(self.extra_arms))}

    @property
    def wanted_arms(self) -> Sequence[Arm]:
        """The base model, and the arms to run."""
        extra = [name for name in self.table if name not in TABLE_AND_STUDIES]
        chosen = self.arms or (QUICK_ARMS if self.quick or extra else self._declared)
        return [self.table[name] for name in dict.fromkeys(("base", *chosen, *extra))]

    @property
    def _declared(self) -> Sequence[str]:
        return tuple(ARMS) if self.study is None else STUDIES[self.study].names

    @model_validator(mode="before")
    @classmethod
    def _study_sets_its_own(cls, given: dict[str, Any]) -> dict[str, Any]:
        study = STUDIES.get(given.get("study"))  # type: ignore[arg-type]  # an unknown name is refused later
        return given if study is None else {**study.settings, **given}

    @model_validator(mode="after")
    def _arms_are_known(self) -> "ReplicationSettings":
        for name in self.arms:
            if name not in self.table:
                raise ValueError(f"arms: there is no arm {name!r}; the arms are {', '.join(self.table)}")
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """What all runs of a table share.

    Attributes:
        task: The task.
        runs: Folder of the runs.
        out: Folder of the results.
        config: TOML file with the trainer's settings.
        model: The base model.
        images: Number of training images.
        questions: Number of test questions.
        samples: Rollouts per question at temperature 1.
        test_seed: Seed of the test images.
        parallel: Runs at a time.
        reward_url: URL of the reward server.
        rollout_url: URL of the rollout server.
    """

    task: TaskName
    runs: Path
    out: Path
    config: Path
    model: Path
    images: int
    questions: int
    samples: int
    test_seed: int
    parallel: int
    reward_url: str
    rollout_url: str

    @classmethod
    def of(cls, settings: ReplicationSettings) -> "Plan":
        """The plan of the settings, before the servers have started."""
        return cls(
            task=settings.task,
            runs=settings.runs_folder.resolve(),
            out=settings.out_folder.resolve(),
            config=settings.config.resolve(),
            model=settings.model_folder.resolve(),
            images=settings.images,
            questions=settings.questions,
            samples=settings.samples,
            test_seed=settings.test_seed,
            parallel=settings.parallel,
            reward_url=_UNREACHABLE,
            rollout_url=_UNREACHABLE,
        )

    @property
    def images_folder(self) -> Path:
        """The folder of the training images."""
        return self.runs / "inputs" / f"{self.task}-{self.images}-{TRAINING_SEED}"

    def folder(self, arm: str, seed: int) -> Path:
        """The folder of a run."""
        return self.runs / arm / str(seed)

    def kept_file(self, arm: str, seed: int) -> Path:
        """Where the result of a complete run is kept beside the table."""
        return self.out / "runs" / f"{arm}-{seed}.json.gz"
