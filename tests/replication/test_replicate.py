"""The command: it runs what is missing, keeps what is complete, and writes the results of all complete runs."""

import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.lock import sole_writer
from ireasoner.trainer.tiny_model.task import TASKS
from replication import scheduler
from replication.__main__ import main
from replication.arms import ARMS, Arm
from replication.evaluation import METRICS
from replication.images import write_images
from replication.run import RECIPE, RESULT, complete_runs, read_result, recipe, updates_done
from replication.scheduler import missing_runs, run_all
from replication.settings import TRAINING_SEED, Plan
from tests.replication.plan import plan

ROOT = Path(__file__).resolve().parents[2]
QUICK = [(ARMS[name], seed) for seed in range(2) for name in ("base", "outcome-only", "full")]
SIGNAL = {"pseudo_label_accuracy": 0.8, "reward_rank_correlation": 0.4, "step_separation": None}


def complete(the_plan: Plan, arm: Arm, seed: int, greedy: float = 0.5) -> Path:
    """Writes a made-up result of a run in which the share `greedy` of the questions is right."""
    questions = {"test": the_plan.questions, "held_out_combinations": the_plan.questions // 2}
    if the_plan.task == "scenes":
        questions["easy_vqa"] = the_plan.questions
    result: dict[str, Any] = {
        "arm": arm.name,
        "seed": seed,
        "recipe": recipe(arm, seed, the_plan),
        "fingerprint": "0123456789abcdef",
        "seconds": {"training": 100.0, "evaluation": 10.0},
        "core_minutes": 4.0 + seed,
        "evaluations": {
            split: {
                figure: list(
                    (np.arange(count) < (count if figure == "majority" else greedy * count)).astype(float)
                )
                for figure in METRICS
            }
            for split, count in questions.items()
        },
        "signal": {**SIGNAL, "collapse_update": 60.0 if seed else None} if arm.trained else {},
        "learning": {
            "update": [9, 72] if arm.trained else [0],
            "greedy": [[0.0] * 8, [greedy] * 8] if arm.trained else [[greedy] * 8],
        },
        "curves": {"update": [1.0, 2.0], "rollout_accuracy": [0.5, None], "answer_entropy_nats": [0.9, 0.8]}
        if arm.trained
        else {},
    }
    file = the_plan.folder(arm.name, seed) / RESULT
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(result))
    return file


def test_only_incomplete_runs_are_run(tmp_path: Path) -> None:
    the_plan = plan(tmp_path)
    assert missing_runs(QUICK, the_plan) == QUICK
    complete(the_plan, ARMS["full"], 0)
    half = the_plan.folder("full", 1)
    half.mkdir(parents=True)
    (half / f"{RESULT}.partial").write_text("{")
    assert missing_runs(QUICK, the_plan) == [run for run in QUICK if run != (ARMS["full"], 0)]


def test_a_result_of_another_recipe_is_neither_used_nor_overwritten(tmp_path: Path) -> None:
    the_plan = plan(tmp_path)
    file = complete(the_plan, ARMS["full"], 0)
    result = json.loads(file.read_text())
    file.write_text(json.dumps({**result, "recipe": "another"}))
    with pytest.raises(SettingsError, match="made by another recipe"):
        read_result(ARMS["full"], 0, the_plan)


def test_another_machine_goes_on_with_the_runs_that_are_missing(tmp_path: Path) -> None:
    """The results of complete runs are kept beside the table, whose folder is committed."""
    first = replace(plan(tmp_path / "here"), out=tmp_path / "out")
    complete(first, ARMS["full"], 0)
    kept = complete_runs(QUICK, first)
    assert list(kept["full"]) == [0]
    second = replace(first, runs=tmp_path / "there")
    assert missing_runs(QUICK, second) == [run for run in QUICK if run != (ARMS["full"], 0)]
    assert complete_runs(QUICK, second) == kept
    [file] = (tmp_path / "out" / "runs").iterdir()
    content = file.read_bytes()
    complete_runs(QUICK, first)
    assert file.read_bytes() == content, "nothing changes in git"
    assert missing_runs(QUICK, replace(second, samples=9)) == QUICK, "another recipe"
    committed = plan(tmp_path).kept_file("full", 0)
    ignored = subprocess.run(["git", "check-ignore", "--quiet", committed], cwd=ROOT, check=False)
    assert ignored.returncode == 1, "git takes it"


def test_results_of_complete_runs_are_written_without_starting_anything(tmp_path: Path) -> None:
    the_plan = plan(tmp_path / "runs")
    for arm, seed in QUICK:
        complete(the_plan, arm, seed, greedy={"base": 0.25, "outcome-only": 0.5, "full": 0.75}[arm.name])
    out = tmp_path / "out"
    words = ["--quick", "--images", "16", "--questions", "8", "--samples", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runs", str(the_plan.runs), "--out", str(out)])
    assert ended.value.code == 0
    document = json.loads((out / "results.json").read_text())
    arms = {arm["arm"]: arm for arm in document["arms"]}
    assert list(arms) == ["base", "outcome-only", "full"]
    assert arms["full"]["seeds"] == [0, 1]
    assert arms["full"]["core_minutes"] == 4.5
    assert arms["full"]["test"]["greedy"]["mean"] == 0.75
    gain = arms["full"]["against"]["outcome-only"]["test"]["greedy"]
    assert gain == {"mean": 0.25, "low": None, "high": None, "p": None}, "two seeds have no interval"
    assert document["gate"]["passed"]
    assert document["gate"]["majority_less_greedy"]["mean"] == 0.75
    learning = arms["full"]["learning"]
    assert learning["update"] == [0, 9, 72]
    assert [found["mean"] for found in learning["greedy"]] == [0.25, 0.0, 0.75]
    assert arms["full"]["collapse_updates"] == [None, 60.0]
    assert arms["full"]["signal"]["step_separation"] is None
    assert document["not_run"] == [], "no other arm was wanted"
    assert document["machine"]["cores"] >= 1
    assert len(document["commit"].rstrip("+")) == 40
    table = (out / "table.md").read_text()
    assert "| full | 2 | 0.750 |" in table
    assert "| base | one model | 0.250 " in table
    assert "| full | lambda_max | +0.250 |" in table
    assert {file.name for file in out.glob("*.svg")} == {"accuracy.svg", "updates.svg", "signal.svg"}


def test_a_foreign_split_has_its_own_tables_and_is_not_in_the_differences_on_both_own_splits(
    tmp_path: Path,
) -> None:
    tables = {}
    for task in ("sums", "scenes"):
        the_plan = plan(tmp_path / task / "runs", task)
        for arm, seed in QUICK:
            complete(the_plan, arm, seed, greedy={"base": 0.25, "outcome-only": 0.5, "full": 0.75}[arm.name])
        out = tmp_path / task / "out"
        words = ["--quick", "--images", "16", "--questions", "8", "--samples", "2", "--task", task]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--runs", str(the_plan.runs), "--out", str(out)])
        assert ended.value.code == 0
        full = json.loads((out / "results.json").read_text())["arms"][-1]
        assert ("easy_vqa" in full) == ("easy_vqa" in full["against"]["base"]) == (task == "scenes")
        tables[task] = (out / "table.md").read_text()
        against = full["against"]["base"]
    assert full["easy_vqa"]["greedy"]["mean"] == 0.75
    assert against["both"]["greedy"]["mean"] == 0.5
    assert "## Easy-vqa" in tables["scenes"]
    assert "easy-vqa" not in tables["sums"]


def test_without_a_complete_run_no_results_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--no-run", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "is complete: there are no results" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_no_run_writes_the_results_of_the_complete_runs(tmp_path: Path) -> None:
    the_plan = plan(tmp_path / "runs")
    for arm, seed in [*QUICK, (ARMS["robust"], 0)]:
        complete(the_plan, arm, seed)
    out = tmp_path / "out"
    words = ["--no-run", "--images", "16", "--questions", "8", "--samples", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runs", str(the_plan.runs), "--out", str(out)])
    assert ended.value.code == 0
    document = json.loads((out / "results.json").read_text())
    arms = {arm["arm"]: arm["seeds"] for arm in document["arms"]}
    assert {one["arm"] for one in document["not_run"]} == ARMS.keys() - arms.keys()
    table = (out / "table.md").read_text()
    assert "- `random`: no run is complete" in table
    assert "No interval with fewer than 5 seeds: outcome-only" in table
    assert arms == {"base": [0, 1], "outcome-only": [0, 1], "full": [0, 1], "robust": [0]}
    assert not (the_plan.runs / "logs").exists()


@pytest.fixture
def waiting_plan(tmp_path: Path) -> Plan:
    """A plan whose runs wait for a reward server."""
    the_plan = plan(tmp_path)
    write_images(the_plan.images_folder, TASKS[the_plan.task].world, the_plan.images, TRAINING_SEED)
    return the_plan


def test_an_interruption_stops_the_active_runs(waiting_plan: Plan) -> None:
    stopped: list[multiprocessing.process.BaseProcess] = []

    def interrupt() -> None:
        stopped.extend(multiprocessing.active_children())
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        list(run_all([(ARMS["full"], 0)], waiting_plan, 1, interrupt))
    assert len(stopped) == 1
    stopped[0].join(10)
    assert stopped[0].exitcode in (0, -signal.SIGTERM), (
        "it ended by itself once it was saved, or at the signal"
    )


def test_a_killed_scheduler_leaves_no_run(waiting_plan: Plan) -> None:
    script = (
        "import multiprocessing, sys\n"
        "from pathlib import Path\n"
        "from replication.arms import ARMS\n"
        "from replication.scheduler import run_all\n"
        "from tests.replication.plan import plan\n"
        "def say(): print(*(each.pid for each in multiprocessing.active_children()), flush=True)\n"
        "if __name__ == '__main__': list(run_all([(ARMS['full'], 0)], plan(Path(sys.argv[1])), 1, say))\n"
    )
    folder = waiting_plan.runs
    (folder / "scheduler.py").write_text(script)
    command = [sys.executable, str(folder / "scheduler.py"), str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as scheduler:
        assert scheduler.stdout is not None
        assert int(scheduler.stdout.readline()), "the run has a process"
        scheduler.kill()
        # The run and the process that it was forked from hold the other end of this pipe.
        assert select.select([scheduler.stdout], [], [], 30)[0], "something still runs"
        assert scheduler.stdout.read() == ""


def _has_imported(module: str) -> bool:
    return module in sys.modules


@pytest.mark.parametrize("module", scheduler._IMPORTED_ONCE)
def test_a_run_finds_its_modules_imported(module: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(scheduler._IMPORTED_ONCE)
    with ProcessPoolExecutor(1, context) as pool:
        assert pool.submit(_has_imported, module).result(60)


def test_a_failed_run_is_reported_and_the_others_continue(tmp_path: Path) -> None:
    without_config = replace(plan(tmp_path), config=tmp_path / "none.toml")
    wanted = ["full", "robust", "random"]
    looks: list[int] = []
    ended = list(run_all([(ARMS[name], 0) for name in wanted], without_config, 2, lambda: looks.append(1)))
    assert looks
    assert sorted(arm.name for arm, _, _ in ended) == sorted(wanted)
    assert all("none.toml" in str(error) for _, _, error in ended)


def test_a_run_that_another_recipe_began_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "full" / "1"
    (begun / "run").mkdir(parents=True)
    (begun / RECIPE).write_text("another")
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "--runs", str(tmp_path)])
    assert ended.value.code == 2
    assert "a run that another recipe began: remove it" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "logs").exists()


def test_the_updates_of_a_run_can_be_counted_while_it_runs(tmp_path: Path) -> None:
    the_plan = plan(tmp_path)
    assert updates_done(ARMS["full"], 0, the_plan) == 0
    file = the_plan.folder("full", 0) / "run" / "metrics.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"update": 1}\n{"update": 2}\n{"upd')
    assert updates_done(ARMS["full"], 0, the_plan) == 2


def test_a_mistyped_arm_ends_the_command_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--arms", "fulll"])
    assert ended.value.code == 2
    assert "there is no arm 'fulll'" in capsys.readouterr().err


def test_two_commands_cannot_share_a_folder_of_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sole_writer(tmp_path), pytest.raises(SystemExit) as ended:
        main(["--quick", "--runs", str(tmp_path)])
    assert ended.value.code == 1
    assert "is being written to by another process" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "logs").exists()
