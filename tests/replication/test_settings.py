"""The folders of a task's model, runs and results."""

from pathlib import Path

import pytest
from pydantic_settings import CliApp

from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from replication.settings import ReplicationSettings


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_committed_model(task: TaskName) -> None:
    assert (ReplicationSettings(task=task).model_folder / "model.safetensors").is_file()


def test_no_two_tasks_share_a_folder() -> None:
    for quick in (False, True):
        settings = [ReplicationSettings(task=task, quick=quick) for task in TASKS]
        for name in ("runs_folder", "out_folder", "model_folder"):
            assert len({getattr(one, name) for one in settings}) == len(TASKS)
    assert ReplicationSettings().out_folder == Path("docs/replication")
    assert ReplicationSettings(task="one-path", quick=True).out_folder == Path(
        "docs/replication/one-path/quick"
    )
    assert ReplicationSettings(task="one-path", out=Path("here")).out_folder == Path("here")


def test_a_partial_table_does_not_overwrite_the_committed_one() -> None:
    for words in (["--quick"], ["--no-run"], ["--parallel", "6"], []):
        assert CliApp.run(ReplicationSettings, words).out_folder.is_relative_to("docs/replication")
    for words in (
        ["--arms", "full"],
        ["--seeds", "3"],
        ["--samples", "4"],
        ["--config", "configs/demo.toml"],
    ):
        assert CliApp.run(ReplicationSettings, words).out_folder == Path("runs/replication/results")
