"""The script behind the table of docs/graft.md, and that the table is that of its figures."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import CliApp

from ireasoner.trainer.settings import RunSettings
from replication.generated_parts import filled_in
from scripts.graft_loop import ROOT, __main__
from scripts.graft_loop.arms import ARMS
from scripts.graft_loop.figures import table

PAGE = (ROOT / "docs" / "graft.md").read_text(encoding="utf-8")
FIGURES = json.loads((ROOT / "docs" / "graft_loop.json").read_text())


def test_the_table_of_the_page_is_that_of_the_committed_figures() -> None:
    assert filled_in(PAGE, {"rewards": table(FIGURES)}) == PAGE


def test_the_committed_figures_follow_from_each_other() -> None:
    for figures in (FIGURES["base"], *(run["after"] for run in FIGURES["runs"])):
        assert len(figures["correct"]) == figures["questions"]
        right = sum(figures["correct"]) / figures["questions"]
        assert figures["greedy"]["mean"] == pytest.approx(right, abs=1e-4)
        assert figures["greedy"]["low"] <= right <= figures["greedy"]["high"]


@pytest.mark.parametrize(
    "run", FIGURES["runs"], ids=lambda run: f"{run['arm']}-{run['updates']}-{run['seed']}"
)
def test_a_run_was_made_as_its_arm_is_declared(run: dict[str, Any], tmp_path: Path) -> None:
    given = [
        "--model",
        "m",
        "--images",
        str(tmp_path),
        "--run-folder",
        str(tmp_path / "run"),
        "--group-size",
        "8",
    ]
    settings = CliApp.run(RunSettings, [*given, *ARMS[run["arm"]]])
    assert settings.reward.config == run["config"]
    assert settings.reward.overrides == run["overrides"]
    assert list(settings.views.names) == run["views"]


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_are_made_once_and_shown(
    seeing_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(__main__, "_HELD_OUT", 10)
    out = tmp_path / "docs"
    out.mkdir()
    (out / "graft.md").write_text(PAGE)
    work = tmp_path / "work"
    given = ["--model", str(seeing_folder), "--work", str(work), "--out", str(out)]
    short = ["--arms", "paper", "--seeds", "3", "--updates", "2"]
    assert __main__.main([*given, *short]) == 0
    document = json.loads((out / "graft_loop.json").read_text())
    [run] = document["runs"]
    assert (run["arm"], run["seed"], run["updates"]) == ("paper", 3, 2)
    assert "| `paper` | `paper`, `equivalence=value` | 2 | " in (out / "graft.md").read_text()

    written = (work / "runs-2" / "paper-3" / "metrics.jsonl").stat().st_mtime_ns
    assert __main__.main([*given, *short]) == 0
    assert (work / "runs-2" / "paper-3" / "metrics.jsonl").stat().st_mtime_ns == written
