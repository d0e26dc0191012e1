"""The values behind a results.json: every answer of every run, packed into values.json.

From them `replication.results.estimates` computes each mean, interval and p-value again. A metric has few distinct
values (a share of eight samples has nine), so a column of values is kept as indices into their sorted list: `distinct`
per metric, once for all runs, and the indices packed bit by bit, lowest bit first, in base64.
"""

import base64
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from replication.results import DECIMALS, Clusters, Run, Runs

VALUES = "values.json"
_GREEDY = "greedy"


def packed(runs: Runs, clusters: Clusters) -> dict[str, Any]:
    """The content of values.json.

    Args:
        runs: The complete runs.
        clusters: The cluster of each question of each split.
    """
    table = _Table(_columns(runs))
    return {
        "clusters": _numbered(clusters),
        "distinct": table.distinct,
        "runs": {
            arm: {str(seed): _packed_run(run, table) for seed, run in sorted(by_seed.items())}
            for arm, by_seed in runs.items()
            if by_seed
        },
    }


def unpacked(
    document: Mapping[str, Any],
) -> tuple[dict[str, dict[int, dict[str, Any]]], dict[str, list[Hashable]]]:
    """The runs of a values.json, as far as estimates need them, and the cluster of each question."""
    counts = {split: len(of_split) for split, of_split in document["clusters"].items()}
    runs = {
        arm: {int(seed): _unpacked_run(run, document["distinct"], counts) for seed, run in by_seed.items()}
        for arm, by_seed in document["runs"].items()
    }
    return runs, document["clusters"]


def as_text(document: Mapping[str, Any]) -> str:
    """A values.json, one run per line, so that a new run is a new line."""
    lines = [
        f"  {json.dumps(arm)}: {{\n"
        + ",\n".join(f'   "{seed}": {json.dumps(run)}' for seed, run in by_seed.items())
        + "\n  }"
        for arm, by_seed in document["runs"].items()
    ]
    shared = "".join(f' "{name}": {json.dumps(document[name])},\n' for name in ("clusters", "distinct"))
    return f'{{\n{shared} "runs": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def read_values(file: Path) -> dict[str, Any]:
    """The content of a values.json."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


class _Table:
    """The distinct values of each metric, and columns of values as packed indices into them."""

    def __init__(self, columns: Iterable[tuple[str, Sequence[float]]]) -> None:
        seen: dict[str, set[float]] = {}
        for metric, values in columns:
            seen.setdefault(metric, set()).update(round(float(value), DECIMALS) for value in values)
        self.distinct = {metric: sorted(values) for metric, values in seen.items()}
        self._index = {
            metric: {value: index for index, value in enumerate(values)}
            for metric, values in self.distinct.items()
        }

    def pack(self, metric: str, values: Sequence[float]) -> str:
        """The values of a metric as base64."""
        codes = np.array([self._index[metric][round(float(value), DECIMALS)] for value in values])
        width = _width(self.distinct[metric])
        bits = (codes[:, None] >> np.arange(width)) & 1
        return base64.b64encode(np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()).decode()


def _unpack(text: str, distinct: Sequence[float], count: int) -> list[float]:
    width = _width(distinct)
    stored: npt.NDArray[np.uint8] = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    bits = np.unpackbits(stored, count=count * width, bitorder="little").reshape(count, width)
    return [distinct[code] for code in (bits.astype(np.int64) << np.arange(width)).sum(axis=1)]


def _width(distinct: Sequence[float]) -> int:
    """Bits of an index; at least one, so that a column of equal values has a length."""
    return max(1, (len(distinct) - 1).bit_length())


def _columns(runs: Runs) -> Iterable[tuple[str, Sequence[float]]]:
    for by_seed in runs.values():
        for run in by_seed.values():
            for of_split in run["evaluations"].values():
                yield from of_split.items()
            for hits in run["learning"]["greedy"]:
                yield _GREEDY, hits


def _packed_run(run: Run, table: _Table) -> dict[str, Any]:
    learning = run["learning"]
    return {
        "evaluations": {
            split: {metric: table.pack(metric, values) for metric, values in of_split.items()}
            for split, of_split in run["evaluations"].items()
        },
        "learning": {
            "update": learning["update"],
            "questions": len(learning["greedy"][0]),
            "greedy": [table.pack(_GREEDY, hits) for hits in learning["greedy"]],
        },
        "signal": run["signal"],
    }


def _unpacked_run(
    run: Mapping[str, Any], distinct: Mapping[str, Sequence[float]], counts: Mapping[str, int]
) -> dict[str, Any]:
    learning = run["learning"]
    return {
        "evaluations": {
            split: {
                metric: _unpack(text, distinct[metric], counts[split]) for metric, text in of_split.items()
            }
            for split, of_split in run["evaluations"].items()
        },
        "learning": {
            "update": learning["update"],
            "greedy": [
                _unpack(text, distinct[_GREEDY], learning["questions"]) for text in learning["greedy"]
            ],
        },
        "signal": run["signal"],
    }


def _numbered(clusters: Clusters) -> dict[str, list[int]]:
    """The clusters as numbers, in the order of their first questions; one cluster can have questions of two splits."""
    index = {
        cluster: number
        for number, cluster in enumerate(dict.fromkeys(chain.from_iterable(clusters.values())))
    }
    return {split: [index[cluster] for cluster in of_split] for split, of_split in clusters.items()}
