"""The figures of a run, and the table of all."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ireasoner.reward_server.parsing.rollout import parse_text
from ireasoner.trainer.run_folder.run_folder import read_lines

_MEANS = ("greedy", "sampled", "format_rate")

Json = dict[str, Any]


def read_evaluation(file: Path) -> Json:
    """What `ireasoner evaluate --output FILE` measured, and the steps that the reward server reads in a sample.

    Returns:
        questions, samples (numbers); greedy, sampled, format_rate (mean, low, high, in [0, 1]); steps (mean of a
        sample); correct (whether each greedy answer is right) and greedy_steps (the number of its steps).
    """
    figures = json.loads(file.read_text())
    answers = list(read_lines(file.with_name(f"{file.stem}.answers.jsonl")))
    texts = [sample["text"] for answer in answers for sample in answer["sampled"]]
    return {
        "questions": figures["questions"],
        "samples": figures["samples"],
        **{name: {end: round(figures[name][end], 4) for end in ("mean", "low", "high")} for name in _MEANS},
        "steps": round(fmean(len(parse_text(text).steps) for text in texts), 4),
        "correct": [int(right) for right in figures["correct"]],
        "greedy_steps": [len(parse_text(answer["greedy"]["text"]).steps) for answer in answers],
    }


def read_run(arm: str, folder: Path) -> Json:
    """A run's settings and figures; `trajectory` and `steps_trained` are means over the last half of its updates."""
    settings = json.loads((folder / "settings.json").read_text())
    lines = [line for line in read_lines(folder / "metrics.jsonl") if line["role"] == "solver"]
    late = [line for line in lines if line["update"] > settings["updates"] / 2]
    return {
        "arm": arm,
        "seed": settings["seed"],
        "updates": settings["updates"],
        "config": settings["reward"]["config"],
        "overrides": settings["reward"]["overrides"],
        "views": settings["views"]["names"],
        "trajectory": _late(late, "trajectory"),
        "steps_trained": _late(late, "steps"),
        "after": read_evaluation(folder / "figures.json"),
    }


def _late(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [line[f"solver/{name}"] for line in lines if f"solver/{name}" in line]
    return round(fmean(values), 4) if values else None


def table(document: Json) -> str:
    """The table of a document; the runs of an arm share a row, in the order of their seeds."""
    runs: dict[tuple[str, int], list[Json]] = defaultdict(list)
    for run in document["runs"]:
        runs[run["arm"], run["updates"]].append(run)
    rows = [
        "| arm | `--reward.config`, overrides and views | updates | greedy | by sample | answers in tags | steps in a "
        "sample | step reward, last half |",
        "|---|---|---|---|---|---|---|---|",
        _row("base model", "", "", [document["base"]], ""),
    ]
    for (arm, updates), of_arm in runs.items():
        trajectory = ", ".join(_number(run["trajectory"]) for run in of_arm)
        after = [run["after"] for run in of_arm]
        rows.append(_row(f"`{arm}`", _reward(of_arm[0]), str(updates), after, trajectory))
    return "\n".join(rows)


def _reward(run: Json) -> str:
    said = [f"`{run['config']}`", *(f"`{name}={value}`" for name, value in run["overrides"].items())]
    return ", ".join([*said, *([f"views {', '.join(run['views'])}"] if run["views"] else [])])


def _row(arm: str, reward: str, updates: str, after: Sequence[Json], trajectory: str) -> str:
    cells = [
        *(", ".join(f"{one[name]['mean']:.3f}" for one in after) for name in ("greedy", "sampled")),
        ", ".join(f"{one['format_rate']['mean']:.2f}" for one in after),
        ", ".join(f"{one['steps']:.2f}" for one in after),
    ]
    return f"| {' | '.join([arm, reward, updates, *cells, trajectory])} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
