"""The settings of `ireasoner rescore`."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from ireasoner.reward_server.commands.command import InputError
from ireasoner.reward_server.commands.config_flag import overrides
from ireasoner.reward_server.commands.embedder_flags import EmbedderFlags
from ireasoner.reward_server.ledger import comparison
from ireasoner.reward_server.ledger.stored_groups import GroupFilter

STORED = "stored"


class RescoreSettings(EmbedderFlags):
    """Score the groups of a ledger anew, and compare the rewards with those that it holds, or with another config's.

    The comparison is kept in LEDGER/comparisons, where the explorer shows it; the ledger itself is only read, and a
    server may record into it meanwhile. Stop the command at any time, and start it again to continue.
    Exit status: 0 all groups were compared; 1 some could not be scored; 2 an input is wrong.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner rescore", env_prefix="IREASONER_RESCORE_")

    ledger: list[Path] = Field(min_length=1)
    """Folder of a ledger; give the flag again for more."""
    config: str
    """Config to score with: a preset, a registered name, or a JSON object of overrides."""
    against: str | None = None
    """Config to compare with (default: the rewards that are stored)."""
    name: str | None = None
    """Name of the comparison (default: made of the configs)."""
    experiment: str | None = None
    """Groups of this experiment alone."""
    run: str | None = None
    """Groups of runs of this name (the `source` of their requests) alone."""
    endpoint: Literal["outcome", "trajectory", "solver", "proposer"] | None = None
    """Groups that were scored by this endpoint alone."""
    update_from: int | None = Field(None, ge=0)
    """Groups of this update or a later one alone."""
    update_until: int | None = Field(None, ge=0)
    """Groups of this update or an earlier one alone."""

    @model_validator(mode="after")
    def _comparison_can_be_named(self) -> "RescoreSettings":
        comparison.file_of(Path(), self.comparison)
        return self

    @property
    def comparison(self) -> str:
        """The name of the comparison."""
        if self.name is not None:
            return self.name
        return f"{_as_name(self.config)}-against-{_as_name(self.against or STORED)}"

    @property
    def which(self) -> GroupFilter:
        """The groups to compare."""
        return GroupFilter(self.experiment, self.run, self.endpoint, self.update_from, self.update_until)


def _as_name(config: str) -> str:
    """A config as part of a comparison's name."""
    try:
        name = overrides("config", config).config_label
    except InputError:  # the command will say so
        return "config"
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name)[:40]
