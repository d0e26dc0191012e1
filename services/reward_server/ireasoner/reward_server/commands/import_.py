"""The command `ireasoner import`: puts past groups into a ledger."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from ireasoner.compat.spelling import did_you_mean
from ireasoner.reward_server.commands.command import (
    CONTINUES,
    DONE,
    PARTLY,
    CommandSettings,
    InputError,
    Progress,
    run_command,
)
from ireasoner.reward_server.commands.config_flag import overrides
from ireasoner.reward_server.ledger import schema
from ireasoner.reward_server.ledger.file_system import check_local
from ireasoner.reward_server.ledger.importing import Counts, Import
from ireasoner.reward_server.ledger.lock import Lock
from ireasoner.reward_server.ledger.put_image import ImagePut
from ireasoner.reward_server.ledger.run_lines import Scoring
from ireasoner.reward_server.ledger.source_file import NothingToImport, SourceFile, named_scoring
from ireasoner.reward_server.scoring_config import PRESETS

SHOWN_LINES = 10
"""Bad lines that are named."""


class ImportSettings(CommandSettings):
    """Put the groups of run folders, of the explorer's exports, and of reward-score's files into a ledger.

    A group that the ledger has from an earlier import is not added again: stop the command at any time, and start it
    again to continue. No server may record into the ledger meanwhile.
    Exit status: 0 all groups are in the ledger; 1 lines were skipped, and named; 2 an input is wrong.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner import", env_prefix="IREASONER_IMPORT_")

    inputs: CliPositionalArg[list[Path]] = Field(min_length=1)
    """Run folders, groups.jsonl files, files that the explorer exported, or those that reward-score wrote (add those
    that it read)."""
    ledger: Path
    """Folder of the ledger; created if it is missing."""
    experiment: str | None = Field(None, min_length=1, max_length=256)
    """Experiment that the groups belong to (default: an export's own, else `-`)."""
    source: str | None = Field(None, min_length=1, max_length=256)
    """Name of the run (default: an export's own, else the name of the run folder, or of the file)."""
    config: str | None = None
    """Scoring config of groups whose file does not say: a preset, or a JSON object of overrides (default: unknown)."""
    progress: float = Field(1.0, ge=0, le=1)
    """Progress of the training that reward-score was given, whose files do not say it."""

    @property
    def scoring(self) -> Scoring | None:
        """The scoring that `config` names; raises InputError if it names none."""
        if self.config is None:
            return None
        found = named_scoring(overrides("config", self.config))
        if found is None:
            raise InputError(
                f"--config: there is no preset {self.config!r}{did_you_mean(self.config, PRESETS)}; "
                f"the presets are {', '.join(PRESETS)}"
            )
        return found


def main(words: Sequence[str]) -> None:
    """Runs the command."""
    run_command("ireasoner import", ImportSettings, _import, words, interrupted=CONTINUES)


def _import(settings: ImportSettings) -> int:
    files = [SourceFile(path, settings.source) for path in settings.inputs]
    if all(file.kind == "groups" for file in files):
        raise NothingToImport(
            f"{files[0].path} holds groups without scores: score it with reward-score, and give both files"
        )
    scoring = settings.scoring
    progress = Progress()
    check_local(settings.ledger)
    with Lock(settings.ledger):
        connection = schema.open_to_write(settings.ledger)
        run = Import(
            connection,
            experiment=settings.experiment,
            source=settings.source,
            scoring=scoring,
            progress=settings.progress,
            put_image=ImagePut(connection, settings.ledger, settings.experiment or schema.NO_SOURCE),
            on_progress=lambda file, read, counts: progress.show(_progress(file, read, counts)),
        )
        try:
            run.files(files)
        finally:
            connection.close()
            progress.end()
    _report(run.counts, settings.ledger)
    return PARTLY if run.counts.bad else DONE


def _progress(file: SourceFile, read: int, counts: Counts) -> str:
    done = f"{counts.imported} groups imported"
    known = f", {counts.known} known already" if counts.known else ""
    return f"{file.path}: {read / max(1, file.size):.0%}; {done}{known}"


def _report(counts: Counts, ledger: Path) -> None:
    print(f"{_counted(counts.imported, 'group', 'was', 'were')} imported into {ledger}")
    for count, noun, singular, plural, what in (
        (counts.known, "group", "was", "were", "in it already"),
        (counts.unanswered, "line", "was", "were", "left out: there are no answers to import"),
        (counts.unscored, "group", "was", "were", "left out: no given file has scores for it"),
        (counts.unfinished, "last line", "was", "were", "left out: it is still being written"),
        (counts.missing_images, "group", "is", "are", "without their image: its file is gone, or unusable"),
    ):
        if count:
            print(f"{_counted(count, noun, singular, plural)} {what}")
    for bad in counts.bad[:SHOWN_LINES]:
        print(f"ireasoner import: {bad.file}, line {bad.number}: {bad.reason}", file=sys.stderr)
    if counts.bad:
        more = f", of which the first {SHOWN_LINES} are named above" if len(counts.bad) > SHOWN_LINES else ""
        print(
            f"ireasoner import: {_counted(len(counts.bad), 'line', 'was', 'were')} skipped{more}",
            file=sys.stderr,
        )


def _counted(count: int, noun: str, singular: str, plural: str) -> str:
    return f"1 {noun} {singular}" if count == 1 else f"{count} {noun}s {plural}"
