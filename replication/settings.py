"""The settings of `python -m replication`."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from replication.rows import ROWS

_ROOT = Path(__file__).resolve().parent.parent

TEST_SEED = 1
"""Seed of the grids that results are reported on; whatever is tuned is tuned on others (the demo's are of seed 0)."""

TRAINING_SEED = 0
"""Seed of the grids to train on."""

FOLLOWED_QUESTIONS = 100
"""How many questions of the test, the first, are also asked at each save of a run."""

TASK = "sums"
"""What the questions ask."""


class ReplicationSettings(BaseSettings):
    """Run rows of the table, each with several seeds, and write results.json, table.md and plots.

    What was run before is kept and not run again: stop it at any time, and start it again to go on.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_prog_name="python -m replication",
        cli_kebab_case=True,
        cli_implicit_flags=True,
    )

    rows: tuple[str, ...] = ()
    """Rows to run, by name, with commas between (default: all); the base model is always examined."""
    seeds: int = Field(5, ge=1)
    """Seeds of each row: 0 to this, less one."""
    quick: bool = False
    """Two rows, two seeds."""
    runs: Path = Path("runs/replication")
    """Where runs are kept, one folder a row and seed."""
    out: Path | None = None
    """Where results go (default: docs/replication, and docs/replication/quick with --quick)."""
    config: Path = _ROOT / "configs" / "replication.toml"
    """TOML file of what all runs share."""
    model: Path = _ROOT / "models" / "digit-grids"
    """The base model."""
    images: int = Field(2000, ge=1)
    """Grids to train on."""
    questions: int = Field(200, ge=1)
    """Questions of the test; half as many about combinations that were held out."""
    samples: int = Field(8, ge=1)
    """Rollouts a question at temperature 1."""
    parallel: int = Field(2, ge=1)
    """Runs at a time; they share the two servers."""

    @field_validator("rows")
    @classmethod
    def _known(cls, rows: tuple[str, ...]) -> tuple[str, ...]:
        for name in rows:
            if name not in ROWS:
                raise ValueError(f"there is no row {name!r}; there are {', '.join(ROWS)}")
        return rows


@dataclass(frozen=True, slots=True)
class Plan:
    """What every run of a table shares.

    Attributes:
        runs: Where runs are kept.
        config: TOML file of the trainer's settings.
        model: The base model.
        images: Grids to train on.
        questions: Questions of the test.
        samples: Rollouts a question.
        reward_url: The reward server.
        rollout_url: The rollout server.
    """

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
        """The folder of the grids to train on."""
        return self.runs / "inputs" / f"grids-{self.images}-{TRAINING_SEED}"

    def folder(self, row: str, seed: int) -> Path:
        """The folder of a run."""
        return self.runs / row / str(seed)
