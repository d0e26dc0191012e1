"""The model card of an export: what was trained, on what, and what it changed; it holds no path of this machine."""

import json
from pathlib import Path
from typing import Any

from ireasoner.trainer.commands.settings import ExportSettings
from ireasoner.trainer.evaluation.evaluation_file import gain_of
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.run_folder.run_folder import defects, read_collapse_mark, read_lines

_LOCAL = frozenset(
    {"config", "run_folder", "adapters_folder", "dry_run", "resume", "cpu_threads", "url", "token_file"}
)
"""Settings that mean nothing on another machine."""


def model_card(settings: ExportSettings, run: dict[str, Any]) -> str:
    """The model card: the run's settings, images, last metrics, evaluation and scoring fingerprint."""
    role = settings.role
    metrics = list(read_lines(settings.run_folder / "metrics.jsonl"))
    if settings.checkpoint is not None:
        done = _updates_of(settings.run_folder, settings.checkpoint)
        metrics = [line for line in metrics if done is None or line["update"] <= done]
    last: dict[str, Any] = next((line for line in reversed(metrics) if line["role"] == role), {})
    shown = ("reward", "outcome", "trajectory", "answer_entropy_nats", "dominant_share", "kl")
    known = [(name, last[f"{role}/{name}"]) for name in shown if f"{role}/{name}" in last]
    groups = read_lines(settings.run_folder / "groups.jsonl")
    fingerprints = sorted({group["fingerprint"] for group in groups if group["fingerprint"]})
    lines = [
        "---",
        f"base_model: {base_model(run['model'])}",
        f"library_name: {'transformers' if settings.merged else 'peft'}",
        "tags: [reinforcement-learning, label-free, vision-language]",
        "---",
        f"# The {settings.role} of {settings.run_folder.resolve().name}",
        "",
        *_warning(run),
        f"Trained without labels by iReasoner's Proposer-Solver loop for {len(metrics)} of {run['updates']} updates",
        f"on the images in `{Path(run['images']).name}`. {_reward(run['reward'])}. "
        f"Scoring: `{run['reward']['config']}`,",
        f"fingerprint {', '.join(f'`{fingerprint}`' for fingerprint in fingerprints) or 'unknown'}.",
        "",
        f"| last update of the {settings.role} | |",
        "|---|---|",
        *(f"| {name} | {value:.4f} |" for name, value in known),
        "",
        *_evaluation(settings),
        "```json",
        json.dumps(_without_paths(run), indent=2, ensure_ascii=False),
        "```",
        "",
    ]
    return "\n".join(lines)


def base_model(model: str) -> str:
    """A hub id, or a folder's name without its path, which means nothing elsewhere."""
    path = Path(model)
    return path.absolute().name if _is_local(model) or path.is_absolute() or path.is_dir() else model


def _updates_of(run_folder: Path, checkpoint: str) -> int | None:
    """The updates of a checkpoint, also of the one that was kept before a collapse; None if they are not known."""
    if not checkpoint.isdigit():
        mark = read_collapse_mark(run_folder)
        checkpoint = "" if mark is None else (mark.checkpoint or "").removeprefix("checkpoint-")
    return int(checkpoint) if checkpoint.isdigit() else None


def _warning(run: dict[str, Any]) -> list[str]:
    """The opening line of the card of a run that was trained with known defects."""
    put_back = defects(run)
    return [f"**Known to be wrong, on purpose**: trained with {', '.join(put_back)}.", ""] if put_back else []


def _reward(reward: dict[str, Any]) -> str:
    if reward.get("function"):
        return f"Reward: the function `{reward['function']}`, in place of the scores"
    return f"Control: {reward['control']}"


def _without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without what means nothing elsewhere: bookkeeping, addresses, and the folders of files."""
    kept = {name: value for name, value in settings.items() if name not in _LOCAL}
    kept |= {name: Path(kept[name]).name for name in ("images", "labels") if kept.get(name)}
    for table in ("reward", "rollout"):
        if isinstance(kept.get(table), dict):
            kept[table] = {name: value for name, value in kept[table].items() if name not in _LOCAL}
    return {name: _without_folders(value) for name, value in kept.items()}


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    is_path = isinstance(value, str) and "://" not in value and (_is_local(value) or Path(value).exists())
    return Path(value).name if is_path else value


def _is_local(text: str) -> bool:
    return text.startswith(("/", "~", "./", "../", "\\")) or text[1:3] in (":\\", ":/")


def _evaluation(settings: ExportSettings) -> list[str]:
    path = settings.run_folder / "evaluation.json"
    if settings.checkpoint is not None:
        return ["This checkpoint was not evaluated.", ""]
    if not path.exists():
        return ["This run was not evaluated.", ""]
    figures = json.loads(path.read_text(encoding="utf-8"))
    before, after = figures.get("before"), figures.get("after")
    if not before or not after:
        return ["This run was not evaluated both before and after training.", ""]
    if gain_of(before, after) is None:
        return ["This run was evaluated on other questions after training than before it.", ""]
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
