"""The values behind a results.json: nothing is lost in packing, and each interval follows from them."""

import json
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replication.__main__ import main
from replication.arms import ARMS
from replication.evaluation import METRICS
from replication.recorded import is_recorded
from replication.results import estimates
from replication.values import VALUES, as_text, packed, read_values, unpacked
from scripts import replication_docs
from tests.replication.declared import declared_for
from tests.replication.plan import plan
from tests.replication.test_replicate import complete

TABLE = [(ARMS[name], seed) for name in ("base", "outcome-only", "full") for seed in range(5)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of three arms with five seeds, whose answers differ."""
    folder = tmp_path_factory.mktemp("table")
    the_plan = plan(folder / "runs")
    rng = np.random.default_rng(0)
    for arm, seed in TABLE:
        file = complete(the_plan, arm, seed)
        result = json.loads(file.read_text())
        for of_split in result["evaluations"].values():
            for metric, values in of_split.items():
                of_split[metric] = made_up(metric, len(values), rng)
        file.write_text(json.dumps(result))
    words = [
        "--no-run",
        "--arms",
        "outcome-only,full",
        "--images",
        "16",
        "--questions",
        "8",
        "--samples",
        "2",
    ]
    with pytest.raises(SystemExit):
        main([*words, "--runs", str(the_plan.runs), "--out", str(folder)])
    return folder


def made_up(metric: str, count: int, rng: np.random.Generator) -> list[float]:
    if metric in ("greedy", "greedy_sound", "passed"):
        return [float(hit) for hit in rng.random(count) < 0.6]
    if metric in ("true_steps", "gold_steps", "entropy_nats"):
        return [float(value) for value in rng.random(count)]
    return [float(value) / 8 for value in rng.integers(0, 9, count)]


def figures(found: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every mean, end of an interval and p-value of a document, with its path."""
    if isinstance(found, dict):
        if found.keys() >= {"mean", "low", "high", "p"}:
            yield path, [found[name] for name in ("mean", "low", "high", "p")]
        found = found.items()
    elif isinstance(found, list):
        found = (
            (str(one.get("arm", index)) if isinstance(one, dict) else str(index), one)
            for index, one in enumerate(found)
        )
    else:
        return
    for name, one in found:
        yield from figures(one, f"{path}/{name}")


def recomputed(folder: Path) -> dict[str, Any]:
    """The figures of a results.json, from its values."""
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    runs, clusters = unpacked(read_values(folder / VALUES))
    arms = [declared_for(folder, document)[arm["arm"]] for arm in document["arms"]]
    return dict(figures(estimates(runs, arms, clusters)))


def folders() -> list[Path]:
    """The folders of committed results that have values."""
    return sorted(file.parent for file in replication_docs.FOLDER.rglob(VALUES))


def assert_is_recomputed(folder: Path) -> None:
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    said = dict(figures(document))
    assert said.keys() == recomputed(folder).keys()
    wrong = {path: (said[path], found) for path, found in recomputed(folder).items() if said[path] != found}
    assert not wrong
    with_interval = [path for path, (_, low, _, _) in said.items() if low is not None]
    assert len(with_interval) > len(METRICS)


def test_every_interval_is_computed_again_from_the_values(table: Path) -> None:
    assert_is_recomputed(table)


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_every_committed_interval_is_computed_again_from_the_committed_values(folder: Path) -> None:
    assert_is_recomputed(folder)


def test_every_table_that_was_not_recorded_before_has_its_values_committed() -> None:
    of_values = {
        file.parent
        for file in replication_docs.FOLDER.rglob("results.json")
        if not is_recorded(json.loads(file.read_text(encoding="utf-8")))
    }
    assert of_values == {*folders()}


def test_the_method_names_each_table_that_has_its_values() -> None:
    said = (replication_docs.FOLDER / "method.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"The tables with a `values.json`: ([^.]*)\.", said.replace("\n", " "))
    names = [folder.relative_to(replication_docs.FOLDER).as_posix() for folder in folders()]
    assert sorted(re.findall(r"`([^`]+)`", listed)) == sorted(names)


@pytest.mark.parametrize("end", ["mean", "low", "high", "p"])
def test_a_figure_that_does_not_follow_from_the_values_is_found(
    table: Path, tmp_path: Path, end: str
) -> None:
    document = json.loads((table / "results.json").read_text())
    document["arms"][2]["against"]["outcome-only"]["both"]["greedy"][end] += 0.0001
    (tmp_path / "results.json").write_text(json.dumps(document))
    (tmp_path / VALUES).write_text((table / VALUES).read_text())
    with pytest.raises(AssertionError):
        assert_is_recomputed(tmp_path)


@pytest.mark.parametrize("distinct", [1, 2, 3, 9, 16, 17, 300])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 200])
def test_packing_loses_nothing(distinct: int, count: int) -> None:
    rng = np.random.default_rng(distinct)
    values = [float(value) / 7 for value in rng.integers(0, distinct, count)]
    run: dict[str, Any] = {
        "evaluations": {"test": {"sampled": values, "greedy": [float(value > 0) for value in values]}},
        "learning": {"update": [0, 9], "greedy": [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]},
        "signal": {"steps": 2.5, "lucky_share": None},
    }
    clusters: dict[str, list[Hashable]] = {"test": [("a", index // 2) for index in range(count)]}
    document = json.loads(as_text(packed({"full": {0: run, 3: run}}, clusters)))
    runs, found = unpacked(document)
    assert found == {"test": [index // 2 for index in range(count)]}
    assert list(runs["full"]) == [0, 3]
    back = runs["full"][3]
    assert back["evaluations"]["test"]["sampled"] == pytest.approx(values, abs=1e-11)
    assert back["evaluations"]["test"]["greedy"] == run["evaluations"]["test"]["greedy"]
    assert (back["learning"], back["signal"]) == (run["learning"], run["signal"])


def test_questions_of_two_splits_can_be_of_one_cluster() -> None:
    clusters: dict[str, list[Hashable]] = {"test": [(1, 2), (3,)], "held_out_combinations": [(3,), (4,)]}
    assert packed({}, clusters)["clusters"] == {"test": [0, 1], "held_out_combinations": [1, 2]}


def test_a_run_of_300_questions_takes_a_few_kilobytes() -> None:
    rng = np.random.default_rng(0)
    runs = {
        "full": {
            seed: {
                "evaluations": {"test": {metric: made_up(metric, 300, rng) for metric in METRICS}},
                "learning": {"update": [0], "greedy": [[1.0] * 100]},
                "signal": {},
            }
            for seed in range(2)
        }
    }
    packed_runs = packed(runs, {"test": [*range(300)]})["runs"]
    assert len(json.dumps(packed_runs["full"]["0"])) < 4000
