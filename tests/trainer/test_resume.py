"""A run that was ended resumes from its newest checkpoint and ends as if it had not been ended."""

import errno
import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ireasoner.trainer.errors import CheckpointError, RunFolderError, SettingsError
from ireasoner.trainer.run_folder.checkpoint import Checkpoints, LoopState, read_state
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.trainer.training import Training, compare, served_names

STATE = LoopState(
    update=3,
    versions={"solver": 2, "proposer": 1},
    kl_betas={"solver": 0.1, "proposer": 0.2},
    moving_baselines={"solver": 0.0, "proposer": 0.0},
    fingerprint="f",
    log_bytes={},
)


@pytest.fixture
def two(reward_url: str, pinned_url: str, tmp_path: Path) -> Callable[[int], tuple[Training, Training]]:
    """Makes two runs of a number of updates: one that has ended, and one that has not started."""
    write_unlabelled(
        tmp_path / "images", 4, seed=5
    )  # two updates per epoch: the run resumes in another epoch

    def make(updates: int) -> tuple[Training, Training]:
        whole, ended = (
            Training(tmp_path / name, tmp_path / "images", reward_url, pinned_url, updates)
            for name in ("whole", "ended")
        )
        whole.finish()
        return whole, ended

    return make


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_a_run_that_a_signal_ends_has_the_bits_of_one_that_went_on(
    two: Callable[[int], tuple[Training, Training]], number: signal.Signals, code: int
) -> None:
    """`tests/kills` kills a run again and again."""
    whole, ended = two(4)
    assert ended.end(number, at_update=2, after_s=0.4) == code
    first_names = served_names(ended.groups()[:2])
    if number == signal.SIGTERM:
        assert re.search(r"saved at update [23]; go on with --resume", ended.log.read_text())
    ended.finish()

    compare(ended, whole)
    assert served_names(ended.groups()[:2]) == first_names, "the first updates were not repeated"
    assert not served_names(ended.groups()[-2:]) & first_names, "the last ones were"


def write_checkpoint(checkpoints: Checkpoints, update: int) -> None:
    with checkpoints.writing(update, STATE) as partial:
        (partial / f"checkpoint-{update}" / "solver").mkdir(parents=True)
        (partial / f"checkpoint-{update}" / "solver" / "weights").write_bytes(
            b"weights of " + str(update).encode()
        )


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, every=1)
    assert checkpoints.newest() is None
    for update in (5, 10, 100):
        write_checkpoint(checkpoints, update)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "checkpoint-100"
    assert read_state(newest) == STATE


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (1, [{10}, {13}, {17}, {20}, {25}, {30}, {40}]),
        (2, [{10}, {10, 13}, {10, 17}, {10, 20}, {20, 25}, {20, 30}, {30, 40}]),
        (3, [{10}, {10, 13}, {10, 13, 17}, {10, 17, 20}, {10, 20, 25}, {10, 20, 30}, {20, 30, 40}]),
    ],
)
def test_beside_the_newest_checkpoint_those_of_the_schedule_are_kept(
    tmp_path: Path, keep: int, kept: list[set[int]]
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=keep, every=10)

    def kept_after(update: int) -> set[int]:
        write_checkpoint(checkpoints, update)
        return {int(path.name.removeprefix("checkpoint-")) for path in tmp_path.iterdir()}

    assert [kept_after(update) for update in (10, 13, 17, 20, 25, 30, 40)] == kept


def test_an_incomplete_checkpoint_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, every=1)
    write_checkpoint(checkpoints, 5)
    write_checkpoint(checkpoints, 6)
    os.truncate(tmp_path / "checkpoint-6" / "solver" / "weights", 3)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "checkpoint-5"
    assert "solver/weights has 3 of 12 bytes" in caplog.text


def run_out_of_space(checkpoints: Checkpoints) -> None:
    with checkpoints.writing(6, STATE) as partial:
        (partial / "checkpoint-6").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow past 4,096 bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_the_disk(checkpoints: Checkpoints) -> None:
    with full_disk(), checkpoints.writing(6, STATE) as partial:
        (partial / "checkpoint-6").mkdir()
        torch.save({"weights": torch.zeros(100_000)}, partial / "checkpoint-6" / "weights.pt")


def test_a_full_disk_that_torch_reports_is_a_checkpoint_error(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, every=1)
    with pytest.raises(
        CheckpointError, match=r"checkpoint-6 could not be written: .*; no earlier checkpoint exists"
    ):
        fill_the_disk(checkpoints)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_with_the_log_that_could_not_be_written(tmp_path: Path) -> None:
    run = RunFolder(settings(tmp_path))
    run.append_group({"update": 1})
    with (
        full_disk(),
        pytest.raises(RunFolderError, match=r"groups\.jsonl could not be written: File too large"),
    ):
        run.append_group({"text": "x" * 10_000})


def test_a_checkpoint_that_cannot_be_written_leaves_the_others_intact(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, every=1)
    write_checkpoint(checkpoints, 5)
    with pytest.raises(CheckpointError, match=r"No space left.*can resume from checkpoint-5"):
        run_out_of_space(checkpoints)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def settings(folder: Path, **fields: Any) -> RunSettings:
    return RunSettings(**{"model": "m", "images": "i", "run_folder": folder, **fields})


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder(settings(tmp_path)).append_metrics({"update": 1})
    with pytest.raises(SettingsError, match="already contains a run"):
        RunFolder(settings(tmp_path))


def test_a_failed_start_leaves_the_folder_free(tmp_path: Path) -> None:
    RunFolder(settings(tmp_path, seed=1))
    RunFolder(settings(tmp_path, seed=2))
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 2


def test_only_a_run_with_the_same_settings_resumes(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="contains no run"):
        RunFolder(settings(tmp_path / "none", resume=True))
    RunFolder(settings(tmp_path, seed=3))
    with pytest.raises(SettingsError, match=r"seed \(was 3, is 4\)"):
        RunFolder(settings(tmp_path, seed=4, resume=True))
    RunFolder(settings(tmp_path, seed=3, resume=True, reward={"url": "http://elsewhere"}, cpu_threads=7))


def test_logs_are_truncated_to_the_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(settings(tmp_path))
    run.append_metrics({"update": 1})
    then = run.log_bytes()
    run.append_metrics({"update": 2})
    run.append_group({"update": 1})
    run.cut_logs(then)
    assert list(read_lines(tmp_path / "metrics.jsonl")) == [{"update": 1}]
    assert list(read_lines(tmp_path / "groups.jsonl")) == []
    shutil.rmtree(tmp_path)
