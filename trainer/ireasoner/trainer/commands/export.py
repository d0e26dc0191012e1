"""The command `ireasoner export`: a trained adapter in a form that other software loads."""

import json
import shutil
from pathlib import Path
from typing import Any

from ireasoner.trainer.commands.settings import ExportSettings
from ireasoner.trainer.errors import RunFolderError
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.run_folder.run_folder import defects, read_lines, read_settings


def export(settings: ExportSettings) -> Path:
    """Writes the export with a model card; returns the folder, which appears only once it is complete.

    Raises:
        RunFolderError: The folder contains no run, the run has no trained adapters yet, or the output exists.
    """
    adapter = settings.run_folder / "final" / settings.role
    if not adapter.is_dir():
        raise RunFolderError(
            f"{settings.run_folder} has no {adapter.relative_to(settings.run_folder)}: has the run ended?"
        )
    if settings.output.exists():
        raise RunFolderError(f"output: {settings.output} exists already")
    run = read_settings(settings.run_folder / "settings.json")
    partial = settings.output.with_name(f".{settings.output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if settings.merged:
        _merge(run, adapter, partial)
    else:
        shutil.copytree(adapter, partial)
    card = partial / "README.md"
    card.write_text(_card(settings, run), encoding="utf-8")
    for file in filter(Path.is_file, partial.rglob("*")):
        shutil.copymode(card, file)  # safetensors makes files private, whatever the umask
    partial.rename(settings.output)
    return settings.output


def _merge(run: dict[str, Any], adapter: Path, output: Path) -> None:
    """Writes the merged weights, and a processor that scales images as in training."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    from ireasoner.trainer.adapters.backbone import load_processor

    backbone = AutoModelForImageTextToText.from_pretrained(run["model"], dtype="auto")
    PeftModel.from_pretrained(backbone, str(adapter)).merge_and_unload().save_pretrained(output)
    bounds = {name: run["rollout"].get(name) for name in ("min_pixels", "max_pixels")}
    load_processor(run["model"], **bounds).save_pretrained(output)


def _card(settings: ExportSettings, run: dict[str, Any]) -> str:
    """The model card: the run's settings, images, last metrics, evaluation and scoring fingerprint."""
    role = settings.role
    metrics = list(read_lines(settings.run_folder / "metrics.jsonl"))
    last: dict[str, Any] = next((line for line in reversed(metrics) if line["role"] == role), {})
    shown = ("reward", "outcome", "trajectory", "answer_entropy_nats", "dominant_share", "kl")
    known = [(name, last[f"{role}/{name}"]) for name in shown if f"{role}/{name}" in last]
    fingerprints = sorted(
        {group["fingerprint"] for group in read_lines(settings.run_folder / "groups.jsonl")}
    )
    lines = [
        "---",
        f"base_model: {_base_model(run['model'])}",
        f"library_name: {'transformers' if settings.merged else 'peft'}",
        "tags: [reinforcement-learning, label-free, vision-language]",
        "---",
        f"# The {settings.role} of {settings.run_folder.name}",
        "",
        *_warning(run),
        f"Trained without labels by iReasoner's Proposer-Solver loop for {len(metrics)} of {run['updates']} updates",
        f"on the images in `{Path(run['images']).name}`. Control: {run['reward']['control']}. "
        f"Scoring: `{run['reward']['config']}`,",
        f"fingerprint {', '.join(f'`{fingerprint}`' for fingerprint in fingerprints) or 'unknown'}.",
        "",
        f"| last update of the {settings.role} | |",
        "|---|---|",
        *(f"| {name} | {value:.4f} |" for name, value in known),
        "",
        *_evaluation(settings.run_folder / "evaluation.json"),
        "```json",
        json.dumps(run, indent=2, ensure_ascii=False),
        "```",
        "",
    ]
    return "\n".join(lines)


def _base_model(model: str) -> str:
    """A hub id, or a folder's name without its path, which means nothing elsewhere."""
    path = Path(model)
    return path.absolute().name if path.is_absolute() or path.is_dir() else model


def _warning(run: dict[str, Any]) -> list[str]:
    """The opening line of the card of a run that was trained with known defects."""
    put_back = defects(run)
    return [f"**Known to be wrong, on purpose**: trained with {', '.join(put_back)}.", ""] if put_back else []


def _evaluation(path: Path) -> list[str]:
    if not path.exists():
        return ["This run was not evaluated.", ""]
    figures = json.loads(path.read_text(encoding="utf-8"))
    before, after = figures.get("before"), figures.get("after")
    if not before or not after:
        return ["This run was not evaluated both before and after training.", ""]
    samples = after["samples"]
    measures = {
        "greedy": "greedy",
        "sampled": "sampled",
        "majority": f"maj@{samples}",
        "passed": f"pass@{samples}",
    }
    rows = [
        f"| {label} | {Interval(**before[name])} | {Interval(**after[name])} |"
        for name, label in measures.items()
    ]
    return [
        f"| on {after['questions']} labelled questions, with 95% bootstrap intervals | before | after |",
        "|---|---|---|",
        *rows,
        "",
    ]
