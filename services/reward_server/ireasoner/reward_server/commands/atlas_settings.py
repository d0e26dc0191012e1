"""The settings of `ireasoner atlas`."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from ireasoner.compat.spelling import did_you_mean
from ireasoner.reward_server.commands.command import InputError
from ireasoner.reward_server.commands.config_flag import overrides
from ireasoner.reward_server.commands.embedder_flags import EmbedderFlags
from ireasoner.reward_server.scoring_config import PRESETS, AnswerFrom, ConfigOverrides


class AtlasSettings(EmbedderFlags):
    """Score labelled groups under every method, and show which one ranks right answers above wrong ones.

    FILE holds one group per line: as reward-score reads it, an export of the explorer, or the answers that `ireasoner
    evaluate` saves. Some groups have labels (right answers), a hundred or more.
    No method sees the labels. A method whose signals, views or voters are missing is listed with what it lacks.
    Exit status: 0 the methods were compared; 2 an input is wrong.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner atlas", env_prefix="IREASONER_ATLAS_")

    file: CliPositionalArg[Path]
    """JSON lines of groups: as for reward-score, an export of the explorer, or answers of `ireasoner evaluate`."""
    methods: tuple[str, ...] = ()
    """Presets to compare, separated by commas (default: all)."""
    configs: str | None = None
    """Your own configs beside them: a JSON object of configs by name, or a file that holds one."""
    against: str = "ttrl"
    """Method that the others are compared with, group by group."""
    progress: float = Field(1.0, ge=0, le=1)
    """Training progress at which to score, for methods with a step reward."""
    answer_from: AnswerFrom | None = None
    """Where answers are read from, for all methods (default: as each config says; for the presets: tag)."""
    json_: bool = Field(False, validation_alias="json")
    """Print JSON."""
    plot: Path | None = None
    """SVG file to draw the figures into."""

    def configs_by_name(self) -> dict[str, ConfigOverrides]:
        """The methods by name: the presets, then your own configs.

        Raises:
            InputError: A name is unknown or used twice, or a config is wrong.
        """
        for name in self.methods:
            if name not in PRESETS:
                raise InputError(
                    f"--methods: there is no preset {name!r}{did_you_mean(name, PRESETS)}; the presets are "
                    f"{', '.join(PRESETS)}"
                )
        named = {name: ConfigOverrides(preset=name) for name in self.methods or PRESETS}
        for name, config in self._own().items():
            if name in PRESETS:
                raise InputError(f"--configs: {name} is a preset; choose another name")
            text = config if isinstance(config, str) else json.dumps(config)
            named[name] = overrides(f"configs, {name}", text)
        if self.against not in named:
            raise InputError(f"--against: {self.against!r} is not among the methods: {', '.join(named)}")
        return {name: self.reading(config) for name, config in named.items()}

    def reading(self, config: ConfigOverrides) -> ConfigOverrides:
        """A config that reads answers as `--answer-from` says."""
        if self.answer_from is None:
            return config
        sent = {**config.model_dump(exclude_unset=True), "answer_from": self.answer_from}
        return ConfigOverrides.model_validate(sent)

    def _own(self) -> dict[str, Any]:
        if self.configs is None:
            return {}
        is_file = not self.configs.lstrip().startswith("{")
        try:
            text = Path(self.configs).read_text(encoding="utf-8") if is_file else self.configs
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"--configs: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise InputError("--configs: not a JSON object of configs by name")
        return found
