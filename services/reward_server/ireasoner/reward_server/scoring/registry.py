"""Scoring configs by name: the presets, and those that experiments registered."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ireasoner.reward_server.errors import (
    ConfigInUse,
    ConfigNotSaved,
    MalformedRequest,
    NoSuchConfig,
    TooManyConfigs,
)
from ireasoner.reward_server.scoring_config import PRESETS, ConfigOverrides, ScoringConfig
from ireasoner.reward_server.wire import Fault

MAX_CONFIGS = 1_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class UnreadableConfigs(Exception):
    """The folder of registered configs contains a file that is not one."""


@dataclass(frozen=True, slots=True)
class NamedConfig:
    """A config and its name; `used` means that something was scored with it, which fixes its meaning."""

    name: str
    config: ScoringConfig
    used: bool


class ConfigRegistry:
    """The configs that a request can name. A name that was used for scoring never changes its meaning.

    Names are kept in memory, and end with the server unless there is a `folder`, where each is a JSON file that is
    replaced atomically. Servers may share a folder: what one registers, the others know. The fingerprint in each
    response shows whether a name still means what it meant before.

    Raises UnreadableConfigs if the folder contains a file that is not a config.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._configs = {name: NamedConfig(name, config, used=True) for name, config in PRESETS.items()}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.glob("*.json")):
                named = _read(file)
                self._configs[named.name] = named

    def all(self) -> list[NamedConfig]:
        """Every config, sorted by name."""
        return [self._configs[name] for name in sorted(self._configs)]

    def get(self, name: str) -> NamedConfig:
        """The config with that name; raises NoSuchConfig."""
        named = self._find(name)
        if named is None:
            raise NoSuchConfig(f"there is no config {name!r}; known configs: {self._names()}")
        return named

    def put(self, name: str, overrides: ConfigOverrides) -> NamedConfig:
        """Registers what `overrides` resolve to now; registering the same config again changes nothing.

        Raises ConfigInUse if the name has another meaning and was used, or is a preset's; MalformedRequest if the name
        is not valid or its base is unknown; TooManyConfigs; ConfigNotSaved.
        """
        if not _NAME.fullmatch(name):
            reason = (
                "a name has 1 to 64 letters, digits, dots, dashes or underscores, first a letter or digit"
            )
            raise MalformedRequest(reason, faults=(Fault(place="name", reason=reason),))
        config = self._resolve(overrides)
        known = self._find(name)
        if known is not None and known.config == config:
            return known
        if known is not None and known.used:
            kind = "is a preset" if name in PRESETS else "was used for scoring"
            raise ConfigInUse(f"{name!r} {kind}, so its meaning cannot change; choose another name")
        if known is None and len(self._configs) >= MAX_CONFIGS:
            raise TooManyConfigs(f"{MAX_CONFIGS} configs are registered, which is the limit")
        return self._keep(NamedConfig(name, config, used=False))

    def use(self, overrides: ConfigOverrides) -> ScoringConfig:
        """The config that a request asks for; from now on the meaning of the name it is based on is fixed.

        Raises MalformedRequest if there is no such name, and ConfigNotSaved.
        """
        config = self._resolve(overrides)
        named = self._configs[overrides.preset]
        if not named.used:
            self._keep(NamedConfig(named.name, named.config, used=True))
        return config

    def _resolve(self, overrides: ConfigOverrides) -> ScoringConfig:
        base = self._find(overrides.preset)
        if base is None:
            reason = f"there is no config {overrides.preset!r}; known configs: {self._names()}"
            raise MalformedRequest(reason, faults=(Fault(place="config", reason=reason),))
        return overrides.on(base.config)

    def _find(self, name: str) -> NamedConfig | None:
        """The config with that name, read again if another server that shares the folder may have changed it."""
        known = self._configs.get(name)
        if self._folder is None or (known is not None and known.used) or not _NAME.fullmatch(name):
            return known
        file = self._folder / f"{name}.json"
        if file.exists():
            self._configs[name] = known = _read(file)
        return known

    def _names(self) -> str:
        shown = sorted(self._configs)[:20]
        return ", ".join(shown) + (", ..." if len(self._configs) > len(shown) else "")

    def _keep(self, named: NamedConfig) -> NamedConfig:
        if self._folder is not None:
            try:
                _write(self._folder / f"{named.name}.json", named)
            except OSError as error:
                raise ConfigNotSaved(
                    f"{named.name!r} could not be saved: {error}", retry_after_s=5
                ) from error
        self._configs[named.name] = named
        return named


def _write(file: Path, named: NamedConfig) -> None:
    """Replaces `file` atomically: the new content is on the disk before it gets the name."""
    draft = file.with_suffix(".tmp")
    with draft.open("w") as stream:
        json.dump({"used": named.used, "config": named.config.model_dump()}, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _read(file: Path) -> NamedConfig:
    if not _NAME.fullmatch(file.stem) or file.stem in PRESETS:
        raise UnreadableConfigs(f"{file}: {file.stem!r} is not a valid name for a config")
    try:
        saved = json.loads(file.read_text())
        return NamedConfig(file.stem, ScoringConfig.model_validate(saved["config"]), bool(saved["used"]))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        reason = f"not a config of this version ({faults}); move the file away and register the config again"
        raise UnreadableConfigs(f"{file}: {reason}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableConfigs(f"{file}: {error}") from error
