"""Rows of a user's own, from a TOML file with a table for each."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ireasoner.reward_server.scoring_config import PRESETS, ConfigOverrides
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rewards.named_function import module_source, named_function
from ireasoner.trainer.settings import describe
from replication.rows import ROWS, Row

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FOLDERS = ("inputs", "logs", "results")
"""What else lies in the folder of runs."""
_FILLED_IN = (
    *("model", "images", "run_folder", "seed", "resume", "labels"),
    *("reward.config", "reward.overrides", "reward.url", "rollout.url"),
)
"""Settings of the trainer that are the table's, or the row's own."""


class ExtraRow(BaseModel):
    """One row, as the file has it.

    Raises:
        ValidationError: A field is unknown or wrong, or there is no such function.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    meaning: str
    """What is rewarded, in a few words."""
    preset: Literal["paper", "robust"] = "paper"
    """The scoring config that it starts from."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """The fields of the scoring config that differ from it."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Settings of the trainer that differ from those of all rows."""
    reward: str | None = None
    """`module:function` that gives what the Solver is trained on instead of its scores; a
    `ireasoner.trainer.rewards.variant.RewardVariant`."""

    @field_validator("overrides")
    @classmethod
    def _preset_is_apart(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        if "preset" in overrides:
            raise ValueError("preset stands beside overrides, not in them")
        return overrides

    @field_validator("trainer")
    @classmethod
    def _none_is_filled_in(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        given = {
            *trainer,
            *(f"{name}.{part}" for name, of in trainer.items() if isinstance(of, dict) for part in of),
        }
        if any(not isinstance(trainer.get(name, {}), dict) for name in ("reward", "rollout")):
            raise ValueError(
                "reward and rollout are tables; a reward of your own stands beside trainer, not in it"
            )
        for name in _FILLED_IN:
            if name in given:
                raise ValueError(f"{name} is filled in by the table; leave it out")
        return trainer

    @field_validator("reward")
    @classmethod
    def _is_there(cls, reward: str | None) -> str | None:
        if reward is not None:
            try:
                named_function(reward)
                module_source(reward)
            except SettingsError as error:
                raise ValueError(str(error)) from error
        return reward

    @model_validator(mode="after")
    def _resolves(self) -> "ExtraRow":
        ConfigOverrides(preset=self.preset, **self.overrides).on(PRESETS[self.preset])
        return self


def read_extra_rows(file: Path) -> Mapping[str, Row]:
    """The rows of a file by name, in its order.

    Raises:
        SettingsError: The file cannot be read, or a row is wrong; the message names both.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from error
    rows = {}
    for name, fields in tables.items():
        if name in ROWS or name in _FOLDERS or not _NAME.fullmatch(name):
            raise SettingsError(
                f"{file}: {name}: a row's name is words of small letters and digits with dashes between, and neither "
                f"{', '.join(_FOLDERS)} nor that of another row"
            )
        try:
            row = ExtraRow.model_validate(fields)
        except ValidationError as error:
            raise SettingsError(f"{file}: {name}: {describe(error)}") from error
        rows[name] = Row(
            name, "method", row.meaning, row.preset, row.overrides, variant=row.reward, trainer=row.trainer
        )
    return rows
