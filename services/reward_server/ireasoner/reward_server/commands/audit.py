"""The command `ireasoner audit`: says whether runs look as if they collapse, and why."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from ireasoner.audit.run_audit import Figure, Verdict
from ireasoner.audit.signs import bounds
from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.commands.command import DONE, CommandSettings, InputError, Progress, run_command
from ireasoner.reward_server.ledger import auditing, schema
from ireasoner.reward_server.ledger.auditing import AuditedRun
from ireasoner.reward_server.ledger.folders import ledger_folders
from ireasoner.reward_server.ledger.importing import Import
from ireasoner.reward_server.ledger.source_file import MAX_SOURCE, SourceFile

COLLAPSE_LIKELY = 3
_WORST_FIRST: tuple[Verdict, ...] = ("collapse likely", "fine", "too early")


class AuditSettings(CommandSettings):
    """Compare the last updates of each run with its first ones, and list the signs of a collapse.

    It is an audit, not an oracle: a run without signs can be wrong, if all of its rollouts are wrong alike.
    Exit status: 0 no run has a sign that decides; 3 a collapse is likely in one of them; 2 an input is wrong.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner audit", env_prefix="IREASONER_AUDIT_")

    inputs: CliPositionalArg[list[Path]] = Field(min_length=1)
    """Ledgers (folders), run folders, groups.jsonl files, files that the explorer exported, or those that reward-score
    wrote (add those that it read)."""
    experiment: str | None = None
    """Of ledgers, audit this experiment alone."""
    run: str | None = None
    """Of ledgers, audit the runs of this name (the `source` of their requests) alone."""
    json_: bool = Field(False, validation_alias="json")
    """Print JSON."""
    window: int = Field(Thresholds.window, ge=3)
    """Updates that are averaged (a third of the run, if it has fewer than three windows)."""
    entropy_share: float = Field(Thresholds.entropy_share, ge=0, le=1)
    """Sign: entropy of the answers below this share of its start."""
    dominant_share: float = Field(Thresholds.dominant_share, ge=0, le=1)
    """Sign: dominant share above this."""
    agreement_share: float = Field(Thresholds.agreement_share, ge=0, le=1)
    """Sign: dominant share below this share of its start."""
    distinct_share: float = Field(Thresholds.distinct_share, ge=0, le=1)
    """Sign: share of distinct questions below this share of its start."""
    length_share: float = Field(Thresholds.length_share, ge=0, le=1)
    """Sign: words per rollout below this share of their start."""
    length_factor: float = Field(Thresholds.length_factor, ge=1)
    """Sign: words per rollout above this multiple of their start."""
    label_share: float = Field(Thresholds.label_share, ge=0, le=1)
    """Sign: accuracy of the pseudo-labels below this share of its start; needs labels."""
    flat_share: float = Field(Thresholds.flat_share, ge=0, le=1)
    """Shown: groups without spread above this share."""
    flip_share: float = Field(Thresholds.flip_share, ge=0, le=1)
    """Shown: repeated questions whose dominant answer flipped above this share."""
    near_duplicate_share: float = Field(Thresholds.near_duplicate_share, ge=0, le=1)
    """Shown: near-duplicate questions above this share."""
    template_share: float = Field(Thresholds.template_share, ge=0, le=1)
    """Shown: steps that are as close to another question's above this share."""
    length_gain_share: float = Field(Thresholds.length_gain_share, ge=0, le=1)
    """Shown: rollouts that gain by length or step count alone above this share."""
    rise: float = Field(Thresholds.rise, ge=0, le=1)
    """Least rise over its start that a shown share needs."""

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the flags."""
        return Thresholds(**{name: getattr(self, name) for name in asdict(Thresholds())})


def main(words: Sequence[str]) -> None:
    """Runs the command."""
    run_command("ireasoner audit", AuditSettings, _audit, words)


def _audit(settings: AuditSettings) -> int:
    runs = list(_audited(settings))
    if not runs:
        raise InputError(
            "there is no run to audit: the ledger is empty, or --experiment and --run match none"
        )
    verdict = _verdict(runs)
    if settings.json_:
        found = {
            "verdict": verdict,
            "thresholds": asdict(settings.thresholds),
            "runs": [run.as_json() for run in runs],
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(_page(run, settings.thresholds) for run in runs))
    return COLLAPSE_LIKELY if verdict == "collapse likely" else DONE


def _verdict(runs: Sequence[AuditedRun]) -> Verdict:
    """The verdict on all runs: the worst of theirs; `too early` if there is no other."""
    verdicts = {run.audit.verdict for run in runs}
    return next(each for each in _WORST_FIRST if each in verdicts)


def _audited(settings: AuditSettings) -> Iterator[AuditedRun]:
    progress = Progress()
    files = []
    for path in settings.inputs:
        if folders := ledger_folders(path):
            for folder in folders:
                yield from _of_ledger(folder, settings, progress)
        else:
            files.append(SourceFile(path, str(path)[-MAX_SOURCE:]))
    if files:
        with _imported(files, progress) as folder:
            yield from _of_ledger(
                folder, settings.model_copy(update={"experiment": None, "run": None}), progress
            )


def _of_ledger(folder: Path, settings: AuditSettings, progress: Progress) -> Iterator[AuditedRun]:
    connection = schema.open_to_read(folder)
    try:
        ids = auditing.run_ids(connection, settings.experiment, settings.run)
        for index, run_id in enumerate(ids, start=1):
            progress.show(f"auditing run {index} of {len(ids)} in {folder}")
            yield auditing.audit_run(connection, run_id, settings.thresholds)
    finally:
        connection.close()
        progress.end()


@contextmanager
def _imported(files: Sequence[SourceFile], progress: Progress) -> Iterator[Path]:
    """A ledger of these files, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="ireasoner-audit-") as name:
        folder = Path(name)
        connection = schema.open_to_write(folder)
        try:
            run = Import(
                connection,
                on_progress=lambda file, read, counts: progress.show(
                    f"reading {file.path}: {read / max(1, file.size):.0%}, {counts.imported} groups"
                ),
            )
            run.files(files)
        finally:
            connection.close()
            progress.end()
        for bad in run.counts.bad[:10]:
            print(f"ireasoner audit: {bad.file}, line {bad.number}: {bad.reason}; left out", file=sys.stderr)
        if run.counts.bad:
            print(f"ireasoner audit: {len(run.counts.bad)} lines were left out", file=sys.stderr)
        if not run.counts.imported:
            raise InputError(f"{files[0].path} holds no group that can be audited")
        yield folder


def _page(run: AuditedRun, limits: Thresholds) -> str:
    """The audit of a run, to read: each figure with the values between which it is no sign."""
    audit = run.audit
    name = run.source if run.experiment == schema.NO_SOURCE else f"{run.experiment} {run.source}"
    unit = run.unit if audit.updates == 1 else f"{run.unit}s"
    lines = [f"{_shown(name)}: {audit.verdict}"]
    if audit.verdict == "too early":
        lines.append(f"  {audit.updates} {unit}; an audit needs {2 * audit.window}")
    else:
        lines.append(f"  {audit.updates} {unit}, the first {audit.window} against the last {audit.window}")
    if run.evicted_groups:
        lines.append(
            f"  {run.evicted_groups} groups were evicted: figures of questions and texts start with those that are left"
        )
    lines.append(f"  {'':36}{'start':>10}{'now':>10}   no sign")
    lines += [_row(figure, limits) for figure in audit.figures]
    for sign in audit.signs:
        mark = "!" if sign.decides else "-"
        lines.append(f"  {mark} {sign.name} since {run.unit} {sign.since}: {sign.figure} {sign.reason}")
        lines.append(f"      {sign.source}")
    return "\n".join(lines)


def _row(figure: Figure, limits: Thresholds) -> str:
    row = f"  {figure.name:36}{_number(figure.first):>10}{_number(figure.now):>10}"
    return (
        row
        if figure.first is None
        else f"{row}   {_range(*bounds(figure.name, figure.first, limits))}".rstrip()
    )


def _range(least: float | None, largest: float | None) -> str:
    if least is None:
        return "" if largest is None else f"up to {_number(largest)}"
    return f"from {_number(least)}" if largest is None else f"{_number(least)} to {_number(largest)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 100 else f"{value:.0f}"


def _shown(text: str) -> str:
    """A name that a caller chose, without characters that steer a terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
