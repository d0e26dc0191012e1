"""The command: what is complete is not run again, what is missing is, and results are written of what is there."""

import json
import multiprocessing
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.lock import sole_writer
from replication.__main__ import main, missing_runs, run_all
from replication.examination import FIGURES
from replication.rows import ROWS, Row
from replication.run import RECIPE, RESULT, read_result, recipe, updates_done
from replication.settings import Plan
from tests.replication.plan import plan

QUICK = [(ROWS[name], seed) for seed in range(2) for name in ("base", "outcome-only", "full")]
SIGNAL = {"pseudo_label_accuracy": 0.8, "reward_rank_correlation": 0.4, "step_separation": None}


def complete(there: Plan, row: Row, seed: int, greedy: float = 0.5) -> Path:
    """Writes the result of a run as if it had been made: `greedy` of its questions are right."""
    questions = {"test": there.questions, "held_out_combinations": there.questions // 2}
    if there.task == "scenes":
        questions["easy_vqa"] = there.questions
    result: dict[str, Any] = {
        "row": row.name,
        "seed": seed,
        "recipe": recipe(row, seed, there),
        "fingerprint": "0123456789abcdef",
        "seconds": {"training": 100.0, "examination": 10.0},
        "examinations": {
            exam: {
                figure: list(
                    (np.arange(count) < (count if figure == "majority" else greedy * count)).astype(float)
                )
                for figure in FIGURES
            }
            for exam, count in questions.items()
        },
        "signal": {**SIGNAL, "collapse_update": 60.0 if seed else None} if row.trained else {},
        "learning": {
            "update": [9, 72] if row.trained else [0],
            "greedy": [[0.0] * 8, [greedy] * 8] if row.trained else [[greedy] * 8],
        },
        "curves": {"update": [1.0, 2.0], "rollout_accuracy": [0.5, None], "answer_entropy_nats": [0.9, 0.8]}
        if row.trained
        else {},
    }
    file = there.folder(row.name, seed) / RESULT
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(result))
    return file


def test_only_what_is_not_complete_is_run(tmp_path: Path) -> None:
    there = plan(tmp_path)
    assert missing_runs(QUICK, there) == QUICK
    complete(there, ROWS["full"], 0)
    half = there.folder("full", 1)
    half.mkdir(parents=True)
    (half / f"{RESULT}.partial").write_text("{")
    assert missing_runs(QUICK, there) == [run for run in QUICK if run != (ROWS["full"], 0)]


def test_a_result_of_another_recipe_is_neither_used_nor_overwritten(tmp_path: Path) -> None:
    there = plan(tmp_path)
    file = complete(there, ROWS["full"], 0)
    result = json.loads(file.read_text())
    file.write_text(json.dumps({**result, "recipe": "another"}))
    with pytest.raises(SettingsError, match="made by another recipe"):
        read_result(ROWS["full"], 0, there)


def test_results_of_complete_runs_are_written_without_starting_anything(tmp_path: Path) -> None:
    there = plan(tmp_path / "runs")
    for row, seed in QUICK:
        complete(there, row, seed, greedy={"base": 0.25, "outcome-only": 0.5, "full": 0.75}[row.name])
    out = tmp_path / "out"
    words = ["--quick", "--images", "16", "--questions", "8", "--samples", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runs", str(there.runs), "--out", str(out)])
    assert ended.value.code == 0
    document = json.loads((out / "results.json").read_text())
    rows = {row["row"]: row for row in document["rows"]}
    assert list(rows) == ["base", "outcome-only", "full"]
    assert rows["full"]["seeds"] == [0, 1]
    assert rows["full"]["test"]["greedy"]["mean"] == 0.75
    gain = rows["full"]["against"]["outcome-only"]["test"]["greedy"]
    assert gain["mean"] == 0.25
    assert gain["low"] <= 0.25 <= gain["high"]
    assert document["gate"]["passed"]
    assert document["gate"]["majority_less_greedy"]["mean"] == 0.75
    learning = rows["full"]["learning"]
    assert learning["update"] == [0, 9, 72]
    assert [found["mean"] for found in learning["greedy"]] == [0.25, 0.0, 0.75]
    assert rows["full"]["collapse_updates"] == [None, 60.0]
    assert rows["full"]["signal"]["step_separation"] is None
    assert document["not_run"] == [], "no other row was asked for"
    assert document["machine"]["cores"] >= 1
    assert len(document["commit"].rstrip("+")) == 40
    table = (out / "table.md").read_text()
    assert "| full | 2 | 0.750 [" in table
    assert {file.name for file in out.glob("*.svg")} == {"accuracy.svg", "updates.svg", "signal.svg"}


def test_a_foreign_test_has_tables_of_its_own_and_no_part_in_what_is_said_of_both_others(
    tmp_path: Path,
) -> None:
    tables = {}
    for task in ("sums", "scenes"):
        there = plan(tmp_path / task / "runs", task)
        for row, seed in QUICK:
            complete(there, row, seed, greedy={"base": 0.25, "outcome-only": 0.5, "full": 0.75}[row.name])
        out = tmp_path / task / "out"
        words = ["--quick", "--images", "16", "--questions", "8", "--samples", "2", "--task", task]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--runs", str(there.runs), "--out", str(out)])
        assert ended.value.code == 0
        full = json.loads((out / "results.json").read_text())["rows"][-1]
        assert ("easy_vqa" in full) == ("easy_vqa" in full["against"]["base"]) == (task == "scenes")
        tables[task] = (out / "table.md").read_text()
        against = full["against"]["base"]
    assert full["easy_vqa"]["greedy"]["mean"] == 0.75
    assert against["both"]["greedy"]["mean"] == 0.5
    assert "## On easy-vqa" in tables["scenes"]
    assert "easy-vqa" not in tables["sums"]


def test_where_nothing_is_complete_no_results_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--no-run", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "is complete: there are no results" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out").exists()


def test_results_can_be_written_of_what_is_complete_alone(tmp_path: Path) -> None:
    there = plan(tmp_path / "runs")
    for row, seed in [*QUICK, (ROWS["robust"], 0)]:
        complete(there, row, seed)
    out = tmp_path / "out"
    words = ["--no-run", "--images", "16", "--questions", "8", "--samples", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runs", str(there.runs), "--out", str(out)])
    assert ended.value.code == 0
    document = json.loads((out / "results.json").read_text())
    rows = {row["row"]: row["seeds"] for row in document["rows"]}
    assert {one["row"] for one in document["not_run"]} == ROWS.keys() - rows.keys()
    table = (out / "table.md").read_text()
    assert "- `random`: no run is complete" in table
    assert (
        "Fewer than 3 seeds, whose intervals say next to nothing of how runs differ: base, outcome-only"
        in table
    )
    assert rows == {"base": [0, 1], "outcome-only": [0, 1], "full": [0, 1], "robust": [0]}
    assert not (there.runs / "logs").exists()


def test_an_interruption_stops_the_runs_under_way(tmp_path: Path) -> None:
    stopped = []
    main_thread = threading.get_ident()

    def interrupt() -> None:
        stopped.extend(multiprocessing.active_children())
        signal.pthread_kill(main_thread, signal.SIGINT)

    timer = threading.Timer(3, interrupt)
    timer.start()

    with pytest.raises(KeyboardInterrupt):
        list(run_all([(ROWS["full"], 0)], plan(tmp_path), 1))
    assert [worker.exitcode for worker in stopped] == [-signal.SIGTERM]


def test_a_run_that_fails_is_told_and_the_others_go_on_to_the_end(tmp_path: Path) -> None:
    without_config = replace(plan(tmp_path), config=tmp_path / "none.toml")
    wanted = ["full", "robust", "random"]
    looks: list[int] = []
    ended = list(run_all([(ROWS[name], 0) for name in wanted], without_config, 2, lambda: looks.append(1)))
    assert looks
    assert sorted(row.name for row, _, _ in ended) == sorted(wanted)
    assert all("none.toml" in str(error) for _, _, error in ended)


def test_a_run_that_another_recipe_began_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "full" / "1"
    (begun / "run").mkdir(parents=True)
    (begun / RECIPE).write_text("another")
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "--runs", str(tmp_path)])
    assert ended.value.code == 1
    assert "a run that another recipe began: remove it" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "logs").exists()


def test_how_far_a_run_is_can_be_read_while_it_goes_on(tmp_path: Path) -> None:
    there = plan(tmp_path)
    assert updates_done(ROWS["full"], 0, there) == 0
    file = there.folder("full", 0) / "run" / "metrics.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"update": 1}\n{"update": 2}\n{"upd')
    assert updates_done(ROWS["full"], 0, there) == 2


def test_a_mistyped_row_ends_the_command_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--rows", "fulll"])
    assert ended.value.code == 2
    assert "there is no row 'fulll'" in capsys.readouterr().out


def test_two_commands_do_not_run_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sole_writer(tmp_path), pytest.raises(SystemExit) as ended:
        main(["--quick", "--runs", str(tmp_path)])
    assert ended.value.code == 1
    assert "is being written to by another process" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "logs").exists()
