"""Scoring configs by name: the presets, those that all experiments share, and those of each experiment."""

import json
import logging
import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ireasoner.reward_server.errors import (
    ConfigInUse,
    ConfigNotSaved,
    ConfigUnreadable,
    MalformedRequest,
    NoSuchConfig,
    TooManyConfigs,
)
from ireasoner.reward_server.scoring_config import PRESETS, ConfigOverrides, ScoringConfig

log = logging.getLogger(__name__)

MAX_CONFIGS = 1_000
"""Configs that are shared, presets included."""
MAX_OWN_CONFIGS = 100
"""Configs of one experiment."""
SHARED = "-"
"""The experiment whose configs all others can use: of requests without a token, and of an operator's."""
DRAFT_S = 60.0
"""Age from which a draft is what a killed server left."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class UnreadableConfigs(Exception):
    """The folder of registered configs contains a file that is not one of this version."""


class _Torn(Exception):
    """A file was cut off while it was written, or is not JSON."""


@dataclass(frozen=True, slots=True)
class NamedConfig:
    """A config and its name; `used` means that something was scored with it, which fixes its meaning."""

    name: str
    config: ScoringConfig
    used: bool


class ConfigRegistry:
    """The configs that a request can name. A name that was used for scoring never changes its meaning.

    A name belongs to the experiment that registered it: another experiment may give the same name to another config,
    and sees neither. What `SHARED` registers can be named by all; an experiment's own config comes first.

    Names are kept in memory, and end with the server unless there is a `folder`, where each is a JSON file that is
    replaced atomically: `NAME.json`, or `EXPERIMENT@/NAME.json`. Servers may share a folder: what one registers, the
    others know. The fingerprint in each response shows whether a name still means what it meant before. A file that
    is not JSON is set aside with a warning.

    Raises UnreadableConfigs if the folder contains a config of another version.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._configs: dict[str, dict[str, NamedConfig]] = {
            SHARED: {name: NamedConfig(name, config, used=True) for name, config in PRESETS.items()}
        }
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._load(SHARED, folder)
            for own in sorted(folder.glob("*@")):
                self._load(own.name.removesuffix("@"), own)

    def all(self, experiment: str = SHARED) -> list[NamedConfig]:
        """Every config that the experiment can name, sorted by name."""
        known = {
            name: named
            for owner in (SHARED, experiment)
            for name, named in self._configs.get(owner, {}).items()
            if self._is_kept(named, owner)
        }
        return [known[name] for name in sorted(known)]

    def get(self, name: str, experiment: str = SHARED) -> NamedConfig:
        """The config with that name; raises NoSuchConfig or ConfigUnreadable."""
        return self._found(name, experiment)[1]

    def put(self, name: str, overrides: ConfigOverrides, experiment: str = SHARED) -> NamedConfig:
        """Registers what `overrides` resolve to now; registering the same config again changes nothing.

        Raises ConfigInUse if the name has another meaning and was used, or is a preset's; MalformedRequest if the name
        is not valid or its base is unknown; TooManyConfigs; ConfigUnreadable; ConfigNotSaved.
        """
        if not _NAME.fullmatch(name):
            reason = (
                "a name has 1 to 64 letters, digits, dots, dashes or underscores, first a letter or digit"
            )
            raise MalformedRequest.at("name", reason)
        config = self._resolve(overrides, experiment)[1]
        owner, known = self._find(name, experiment) or (experiment, None)
        if known is not None and known.config == config:
            return known
        if known is not None and (why := _why_fixed(known, owner, experiment)) is not None:
            raise ConfigInUse(f"{name!r} {why}, so its meaning cannot change; choose another name")
        most = MAX_CONFIGS if owner == SHARED else MAX_OWN_CONFIGS
        if known is None and len(self._configs.get(owner, ())) >= most:
            raise TooManyConfigs(f"{most} configs are registered, which is the limit")
        return self._keep(NamedConfig(name, config, used=False), owner)

    def delete(self, name: str, experiment: str = SHARED) -> NamedConfig:
        """Removes a config that nothing was scored with, and returns it.

        Raises NoSuchConfig, ConfigInUse if it was used, is a preset or is shared, ConfigUnreadable, or ConfigNotSaved.
        """
        owner, known = self._found(name, experiment)
        if (why := _why_fixed(known, owner, experiment)) is not None:
            raise ConfigInUse(f"{name!r} {why}, so it cannot be deleted")
        if self._folder is not None:
            try:
                self._file(name, owner).unlink()
            except OSError as error:
                raise ConfigNotSaved(f"{name!r} could not be deleted: {error}", retry_after_s=5) from error
        del self._configs[owner][name]
        return known

    def use(self, overrides: ConfigOverrides, experiment: str = SHARED) -> ScoringConfig:
        """The config that a request asks for; from now on the meaning of the name it is based on is fixed.

        Raises MalformedRequest if there is no such name, ConfigUnreadable, and ConfigNotSaved.
        """
        (owner, named), config = self._resolve(overrides, experiment)
        if not named.used:
            self._keep(NamedConfig(named.name, named.config, used=True), owner)
        return config

    def _resolve(
        self, overrides: ConfigOverrides, experiment: str
    ) -> tuple[tuple[str, NamedConfig], ScoringConfig]:
        """The config that overrides are based on, with its owner, and the config that they resolve to."""
        base = self._find(overrides.preset, experiment)
        if base is None:
            reason = f"there is no config {overrides.preset!r}; known configs: {self._names(experiment)}"
            raise MalformedRequest.at("config", reason)
        return base, overrides.on(base[1].config)

    def _found(self, name: str, experiment: str) -> tuple[str, NamedConfig]:
        """A config and whose it is; raises NoSuchConfig or ConfigUnreadable."""
        found = self._find(name, experiment)
        if found is None:
            raise NoSuchConfig(f"there is no config {name!r}; known configs: {self._names(experiment)}")
        return found

    def _find(self, name: str, experiment: str) -> tuple[str, NamedConfig] | None:
        """The experiment's own config with that name, else the shared one; and whose it is."""
        if name in PRESETS:  # no experiment can own one
            return SHARED, self._configs[SHARED][name]
        for owner in dict.fromkeys((experiment, SHARED)):
            if (found := self._find_own(name, owner)) is not None:
                return owner, found
        return None

    def _find_own(self, name: str, owner: str) -> NamedConfig | None:
        """An owner's config, read again if another server that shares the folder may have changed it."""
        known = self._configs.get(owner, {}).get(name)
        if self._folder is None or (known is not None and known.used) or not _NAME.fullmatch(name):
            return known
        try:
            known = _read(self._file(name, owner))
        except FileNotFoundError:
            if not self._folder.is_dir():  # it may come back
                return known
            self._configs.get(owner, {}).pop(
                name, None
            )  # another server has deleted it, if it was registered
            return None
        except _Torn as error:
            _set_aside(self._file(name, owner), error)
            return known
        except UnreadableConfigs as error:
            raise ConfigUnreadable(f"the saved config {name!r} is not one of this version") from error
        self._configs.setdefault(owner, {})[name] = known
        return known

    def _is_kept(self, named: NamedConfig, owner: str) -> bool:
        """Whether no other server that shares the folder has deleted a config."""
        if named.used or self._folder is None or not self._folder.is_dir():
            return True
        return self._file(named.name, owner).exists()

    def _load(self, owner: str, folder: Path) -> None:
        """Reads every config of an owner, and removes drafts that a killed server left."""
        for draft in folder.glob("*.tmp"):
            with suppress(FileNotFoundError):  # another server has finished it
                if time.time() - draft.stat().st_mtime > DRAFT_S:
                    draft.unlink()
        for file in sorted(folder.glob("*.json")):
            try:
                named = _read(file)
            except _Torn as error:
                _set_aside(file, error)
            else:
                self._configs.setdefault(owner, {})[named.name] = named

    def _names(self, experiment: str) -> str:
        shown = [named.name for named in self.all(experiment)]
        return ", ".join(shown[:20]) + (", ..." if len(shown) > 20 else "")

    def _file(self, name: str, owner: str) -> Path:
        assert self._folder is not None
        return (self._folder if owner == SHARED else self._folder / f"{owner}@") / f"{name}.json"

    def _keep(self, named: NamedConfig, owner: str) -> NamedConfig:
        if self._folder is not None:
            try:
                _write(self._file(named.name, owner), named, self._folder)
            except OSError as error:
                raise ConfigNotSaved(
                    f"{named.name!r} could not be saved: {error}", retry_after_s=5
                ) from error
        self._configs.setdefault(owner, {})[named.name] = named
        return named


def _why_fixed(named: NamedConfig, owner: str, experiment: str) -> str | None:
    """Why an experiment may not change or delete an owner's config; None if it may."""
    if named.name in PRESETS:
        return "is a preset"
    if named.used:
        return "was used for scoring"
    return "is shared" if owner != experiment else None


def _write(file: Path, named: NamedConfig, folder: Path) -> None:
    """Replaces `file` atomically: the new content is on the disk before it gets the name."""
    if file.parent != folder:
        file.parent.mkdir(exist_ok=True)
    saved = json.dumps({"used": named.used, "config": named.config.model_dump()}, indent=2)
    descriptor, name = tempfile.mkstemp(".tmp", f"{named.name}-", file.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(saved)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o644)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _read(file: Path) -> NamedConfig:
    """Raises _Torn if the file is not JSON, and UnreadableConfigs if it is not a config."""
    if file.stem in PRESETS:
        raise UnreadableConfigs(f"{file}: {file.stem!r} is a preset of the server: rename the file")
    if not _NAME.fullmatch(file.stem):
        raise UnreadableConfigs(f"{file}: {file.stem!r} is not a valid name for a config")
    try:
        saved = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _Torn(str(error)) from error
    try:
        return NamedConfig(file.stem, ScoringConfig.model_validate(saved["config"]), bool(saved["used"]))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        reason = f"not a config of this version ({faults}); move the file away and register the config again"
        raise UnreadableConfigs(f"{file}: {reason}") from error
    except (KeyError, TypeError) as error:
        raise UnreadableConfigs(f"{file}: not a config: {type(error).__name__}: {error}") from error


def _set_aside(file: Path, error: Exception) -> None:
    """Renames a file that is not JSON, so that nothing reads it again."""
    aside = file.with_name(f"{file.name}.torn")
    with suppress(FileNotFoundError):  # another server was faster
        file.replace(aside)
    log.warning("%s is not JSON (%s): it is now %s, and its name is free", file, error, aside.name)
