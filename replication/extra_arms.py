"""A user's own arms, from a TOML file with one table per arm."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ireasoner.compat.flags import describe
from ireasoner.reward_server.scoring_config import PRESETS, ConfigOverrides
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rewards.named_function import module_source
from ireasoner.trainer.rewards.variant import named_variant
from replication.arms import Arm
from replication.studies import TABLE_AND_STUDIES

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FOLDERS = ("inputs", "logs", "results")
"""The other subfolders of the folder of runs."""
_FILLED_IN = (
    *("model", "images", "run_folder", "seed", "resume", "labels"),
    *("reward.config", "reward.overrides", "reward.url", "rollout.url"),
)
"""Settings of the trainer that an arm cannot choose."""


class ExtraArm(BaseModel):
    """One arm of the file.

    Raises:
        ValidationError: A field is unknown or wrong, or the function does not exist.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    meaning: str
    """What is rewarded, in a few words."""
    preset: str = "paper"
    """The scoring config that the overrides change: a preset of the reward server."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """The fields of the scoring config that differ from the preset."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Settings of the trainer that differ from the shared ones; `reward.function` names a reward of one's own."""

    @field_validator("overrides")
    @classmethod
    def _preset_is_apart(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        if "preset" in overrides:
            raise ValueError("preset is a field beside overrides, not one of them")
        return overrides

    @field_validator("trainer")
    @classmethod
    def _none_is_filled_in(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        given = {
            *trainer,
            *(f"{name}.{part}" for name, of in trainer.items() if isinstance(of, dict) for part in of),
        }
        if any(not isinstance(trainer.get(name, {}), dict) for name in ("reward", "rollout")):
            raise ValueError("reward and rollout are tables; your own reward is trainer.reward.function")
        for name in _FILLED_IN:
            if name in given:
                raise ValueError(f"{name} is set by the command; leave it out")
        return trainer

    @field_validator("trainer")
    @classmethod
    def _reward_is_there(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        function = trainer.get("reward", {}).get("function")
        if function is not None:
            try:
                named_variant(function)
                module_source(function)
            except SettingsError as error:
                raise ValueError(str(error)) from error
        return trainer

    @model_validator(mode="after")
    def _resolves(self) -> "ExtraArm":
        if self.preset not in PRESETS:
            raise ValueError(f"there is no preset {self.preset!r}; the presets are {', '.join(PRESETS)}")
        try:
            ConfigOverrides(preset=self.preset, **self.overrides).on(PRESETS[self.preset])
        except ValidationError as error:
            raise ValueError(describe(error, ConfigOverrides)) from error
        return self


def read_extra_arms(file: Path) -> Mapping[str, Arm]:
    """The arms of a file by name, in its order.

    Raises:
        SettingsError: The file cannot be read, or an arm is wrong; the message names the file and the arm.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from error
    arms = {}
    for name, fields in tables.items():
        if name in TABLE_AND_STUDIES or name in _FOLDERS or not _NAME.fullmatch(name):
            raise SettingsError(
                f"{file}: {name}: an arm's name has lower-case letters and digits, with single dashes between, and "
                f"is neither {', '.join(_FOLDERS)} nor the name of another arm"
            )
        try:
            arm = ExtraArm.model_validate(fields)
        except ValidationError as error:
            raise SettingsError(f"{file}: {name}: {describe(error, ExtraArm)}") from error
        arms[name] = Arm(name, "method", arm.meaning, arm.preset, arm.overrides, trainer=arm.trainer)
    return arms
