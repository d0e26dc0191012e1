"""The command `ireasoner rescore`: scores a ledger's groups anew with another config, and compares."""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ireasoner.reward_server.commands.command import (
    CONTINUES,
    DONE,
    PARTLY,
    InputError,
    Progress,
    run_command,
)
from ireasoner.reward_server.commands.config_flag import overrides
from ireasoner.reward_server.commands.rescore_settings import RescoreSettings
from ireasoner.reward_server.commands.rescorer import Failed, Rescorer
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.ledger import comparison, schema
from ireasoner.reward_server.ledger.comparison import Comparison
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, OtherPlan, Plan
from ireasoner.reward_server.ledger.folders import ledger_folders
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.ledger.stored_groups import (
    StoredGroup,
    group_ids,
    stored_embedders,
    stored_groups,
)
from ireasoner.reward_server.scoring.registry import SHARED
from ireasoner.reward_server.scoring_config import ConfigOverrides


def main(words: Sequence[str]) -> None:
    """Runs the command."""
    run_command("ireasoner rescore", RescoreSettings, _rescore, words, interrupted=CONTINUES)


def _rescore(settings: RescoreSettings) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    folders = [each for folder in settings.ledger for each in _ledgers(folder)]
    config = overrides("config", settings.config)
    against = None if settings.against is None else overrides("against", settings.against)
    done = asyncio.run(_compare(settings, folders, config, against))
    for folder, found in zip(folders, done, strict=True):
        print("\n".join(_page(folder, found)))
    return PARTLY if any(found.summary["failed"] for found in done) else DONE


def _ledgers(folder: Path) -> list[Path]:
    folders = ledger_folders(folder)
    if not folders:
        raise schema.LedgerUnusable(f"{folder} holds no ledger: {schema.FILE} is missing")
    return folders


async def _compare(
    settings: RescoreSettings,
    folders: Sequence[Path],
    config: ConfigOverrides,
    against: ConfigOverrides | None,
) -> list[Comparison]:
    async with Rescorer.started(settings.server_settings()) as rescorer:
        for folder in folders:
            await _compare_ledger(settings, folder, rescorer, config, against)
    return [comparison.read(folder, settings.comparison) for folder in folders]


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
            config.config_label,
            None if against is None else against.config_label,
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
