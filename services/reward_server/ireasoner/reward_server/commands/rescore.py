"""The command `ireasoner rescore`: scores a ledger's groups anew with another config, and compares."""

import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from ireasoner.compat.flags import describe
from ireasoner.reward_server.commands.command import (
    CONTINUES,
    DONE,
    PARTLY,
    CommandSettings,
    InputError,
    Progress,
    run_command,
)
from ireasoner.reward_server.commands.rescorer import Failed, Rescorer
from ireasoner.reward_server.embedding.embedder import EmbedderSpec, Runtime
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.ledger import comparison, schema
from ireasoner.reward_server.ledger.comparison import Comparison
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, OtherPlan, Plan
from ireasoner.reward_server.ledger.folders import ledger_folders
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.ledger.stored_groups import (
    GroupFilter,
    StoredGroup,
    group_ids,
    stored_embedders,
    stored_groups,
)
from ireasoner.reward_server.scoring.registry import SHARED
from ireasoner.reward_server.scoring_config import ConfigOverrides
from ireasoner.reward_server.settings import RewardServerSettings

STORED = "stored"


class RescoreSettings(CommandSettings):
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
    configs_folder: Path | None = None
    """Folder of registered configs, as the server's."""
    embedder: str = "minilm"
    """Embedder, as the server's; with another one than the server's, rewards change for that reason, too."""
    token_mean_checkpoint: Path | None = None
    """For token-mean: a checkpoint of the policy, as the server's."""
    runtime: Runtime = "auto"
    """Runtime and precision of the embedder, as the server's."""
    device: str = "auto"
    """Torch device of the embedder, as the server's."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of the embedder."""

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


def main(words: Sequence[str]) -> None:
    """Runs the command."""
    run_command("ireasoner rescore", RescoreSettings, _rescore, words, interrupted=CONTINUES)


def _rescore(settings: RescoreSettings) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    folders = [each for folder in settings.ledger for each in _ledgers(folder)]
    config = _overrides("config", settings.config)
    against = None if settings.against is None else _overrides("against", settings.against)
    done = asyncio.run(_compare(settings, folders, config, against))
    for folder, found in zip(folders, done, strict=True):
        print("\n".join(_page(folder, found)))
    return PARTLY if any(found.summary["failed"] for found in done) else DONE


def _ledgers(folder: Path) -> list[Path]:
    folders = ledger_folders(folder)
    if not folders:
        raise schema.LedgerUnusable(f"{folder} holds no ledger: {schema.FILE} is missing")
    return folders


def _overrides(flag: str, text: str) -> ConfigOverrides:
    try:
        return ConfigOverrides.model_validate(
            json.loads(text) if text.lstrip().startswith("{") else {"preset": text}
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"--{flag}: {faults}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--{flag}: not JSON: {error}") from error


async def _compare(
    settings: RescoreSettings,
    folders: Sequence[Path],
    config: ConfigOverrides,
    against: ConfigOverrides | None,
) -> list[Comparison]:
    async with Rescorer.started(_server_settings(settings)) as rescorer:
        for folder in folders:
            await _compare_ledger(settings, folder, rescorer, config, against)
    return [comparison.read(folder, settings.comparison) for folder in folders]


def _server_settings(settings: RescoreSettings) -> RewardServerSettings:
    """The settings of a server that scores alike, and records nothing."""
    names = (*EmbedderSpec.model_fields, "configs_folder")
    try:
        return RewardServerSettings(**{name: getattr(settings, name) for name in names}, ledger=None)
    except ValidationError as error:
        raise InputError(describe(error, RewardServerSettings, flags=True)) from error


async def _compare_ledger(
    settings: RescoreSettings,
    folder: Path,
    rescorer: Rescorer,
    config: ConfigOverrides,
    against: ConfigOverrides | None,
) -> None:
    """Compares the groups of a ledger that are not compared yet."""
    connection = schema.open_to_read(folder)
    progress = Progress()
    try:
        plan = Plan(
            _label(config),
            None if against is None else _label(against),
            _request(settings, rescorer, config, against),
        )
        with ComparisonFile(folder, settings.comparison, plan) as file:
            ids = group_ids(connection, settings.which)
            done = file.done()
            left = [group_id for group_id in ids if group_id not in done]
            file.expect(len(ids))
            if against is None:
                _warn_of_embedders(folder, stored_embedders(connection), rescorer.embedder)
            started_s, compared = time.monotonic(), 0
            for page in stored_groups(connection, left):
                await _compare_page(page, file, rescorer, config, against)
                compared += len(page)
                progress.show(
                    _progress(folder, len(ids) - len(left) + compared, len(ids), compared, started_s)
                )
    except OtherPlan as error:
        raise InputError(str(error)) from error
    except MalformedRequest as error:
        raise InputError(error.detail) from error
    finally:
        connection.close()
        progress.end()


def _warn_of_embedders(folder: Path, stored: Sequence[str], embedder: str) -> None:
    """Says that rewards may differ for another reason than the config."""
    others = [each for each in stored if each != embedder]
    if others:
        print(
            f"ireasoner rescore: {folder}: groups were scored with another embedder, or do not say with which "
            f"({', '.join(others[:3])}; now {embedder}): their rewards may change for that reason alone; add --against",
            file=sys.stderr,
        )


async def _compare_page(
    page: Sequence[StoredGroup],
    file: ComparisonFile,
    rescorer: Rescorer,
    config: ConfigOverrides,
    against: ConfigOverrides | None,
) -> None:
    after = await rescorer.scored(page, config)
    before: Sequence[Any] = [group.scored for group in page]
    if against is not None:
        before = await rescorer.scored(page, against)
    changes, failures = [], []
    for group, old, new in zip(page, before, after, strict=True):
        if isinstance(new, Failed):
            failures.append((group.id, group.experiment, new.reason))
        elif isinstance(old, Failed):
            failures.append((group.id, group.experiment, old.reason))
        else:
            changes.append((group.id, group.experiment, GroupChange.of(old, new, group.endpoint)))
    file.add(changes, failures)


def _request(
    settings: RescoreSettings, rescorer: Rescorer, config: ConfigOverrides, against: ConfigOverrides | None
) -> dict[str, Any]:
    """Everything that the comparison depends on."""
    experiment = settings.experiment or SHARED
    return {
        "config": rescorer.config(config, experiment).model_dump(),
        "against": None if against is None else rescorer.config(against, experiment).model_dump(),
        "embedder": rescorer.embedder,
        "which": settings.which.values,
    }


def _label(config: ConfigOverrides) -> str:
    """A config's name, with a mark if fields of it are overridden."""
    return config.preset if config.model_fields_set <= {"preset"} else f"{config.preset}+"


def _as_name(config: str) -> str:
    """A config as part of a comparison's name."""
    try:
        label = _label(_overrides("config", config))
    except InputError:  # the command will say so
        return "config"
    return re.sub(r"[^A-Za-z0-9._+-]", "-", label)[:40]


def _progress(folder: Path, done: int, groups: int, compared: int, started_s: float) -> str:
    rate = compared / max(1e-9, time.monotonic() - started_s)
    left_min = (groups - done) / max(rate, 1e-9) / 60
    return f"{folder}: {done} of {groups} groups, {rate:.0f} per second, {left_min:.0f} minutes left"


def _page(folder: Path, found: Comparison) -> list[str]:
    """The result, to read."""
    summary = found.summary
    correlation = summary["correlation"]
    changed, groups = summary["changed_rewards"], summary["changed_groups"]
    lines = [
        f"{found.name} in {folder}: {found.config} against {found.against or 'the stored rewards'}",
        f"  {found.done} of {found.groups} groups, {summary['rollouts']} rewards",
        f"  rewards changed           {changed} ({_share(changed, summary['rollouts'])})",
        f"  groups with a change      {groups} ({_share(groups, found.done)})",
        f"  rank flips                {summary['rank_flips']}, in {summary['groups_with_flips']} groups",
        f"  dominant answers changed  {summary['changed_dominant_answers']}",
        f"  correlation of rewards    {'not defined' if correlation is None else f'{correlation:.4f}'}",
    ]
    if summary["failed"]:
        lines.append(f"  could not be scored       {summary['failed']} groups")
    return lines


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
