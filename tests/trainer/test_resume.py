"""A killed run resumes from its newest checkpoint and ends as if it had not been killed.

The last bits of vLLM's arithmetic depend on the rest of the batch and on the prefix cache, so equal seeds alone do not
give equal bits. These tests pin both: one sequence at a time, no prefix cache.
"""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ireasoner.trainer.errors import CheckpointError, RunFolderError, SettingsError
from ireasoner.trainer.run_folder.checkpoint import Checkpoints, LoopState, read_state
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import ROLES, RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL

DEADLINE_S = 300.0
STATE = LoopState(
    update=3,
    versions={"solver": 2, "proposer": 1},
    kl_betas={"solver": 0.1, "proposer": 0.2},
    moving_baselines={"solver": 0.0, "proposer": 0.0},
    fingerprint="f",
    log_bytes={},
)


class Training:
    """`ireasoner train` in a process of its own, into one run folder."""

    def __init__(self, folder: Path, images: Path, reward_url: str, rollout_url: str, updates: int) -> None:
        self.run = folder
        self.updates = updates
        self._config = folder.with_suffix(".toml")
        self._config.write_text(
            f"""
            model = {json.dumps(str(MODEL))}
            images = {json.dumps(str(images))}
            run_folder = {json.dumps(str(folder))}
            updates = {updates}
            proposer_every = 1
            group_size = 3
            groups_per_update = 2
            save_every = 1
            cpu_threads = 1
            lora.dropout = 0.0
            reward.url = {json.dumps(reward_url)}
            rollout = {{ url = {json.dumps(rollout_url)}, solver_max_tokens = 64, proposer_max_tokens = 24 }}
            grpo.learning_rate = 3e-3
            """
        )

    def start(self, *flags: str) -> subprocess.Popen[bytes]:
        with self.run.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ireasoner.cli", "train", "--config", str(self._config), *flags],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, *flags: str) -> None:
        code = self.start(*flags).wait(DEADLINE_S)
        assert code == 0, self.run.with_suffix(".log").read_text()

    def kill(self, after_s: float, at_update: int) -> float:
        """Starts or resumes the run, and kills it.

        Args:
            after_s: Seconds from the start to the kill.
            at_update: The run is killed earlier, up to half a second after the checkpoint of this update, so that it
                is in the middle of the next update.

        Returns:
            Seconds from the start to the kill.
        """
        process = self.start(*(["--resume"] if (self.run / "settings.json").exists() else []))
        checkpoints = Checkpoints(self.run / "checkpoints", keep=2)
        started_s = time.monotonic()
        while process.poll() is None and time.monotonic() - started_s < after_s:
            newest = checkpoints.newest()
            if newest is not None and read_state(newest).update >= at_update:
                time.sleep(0.5 * (after_s % 1))
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL, "it must be killed before it ends"
        return time.monotonic() - started_s

    def groups(self) -> list[dict[str, Any]]:
        return list(read_lines(self.run / "groups.jsonl"))

    def result(self) -> dict[str, Any]:
        """What must be equal: the weights, bit for bit, and every group except for the served names of its policies."""
        groups = json.dumps(self.groups())
        names = {str(rollout["policy"]) for group in self.groups() for rollout in group.get("rollouts", [])}
        names |= {str(group.get("proposed_by") or group.get("policy")) for group in self.groups()}
        for name in names:
            groups = groups.replace(name, "-".join(name.split("-")[-2:]))
        weights = {
            role: (self.run / "final" / role / "adapter_model.safetensors").read_bytes() for role in ROLES
        }
        return {"groups": groups, "weights": weights}


def served_names(groups: list[dict[str, Any]]) -> set[str]:
    """The prefixes of these groups' served policy names; each start of the trainer has its own."""
    names = {group.get("proposed_by") or group.get("policy") for group in groups}
    return {str(name).rsplit("-", 2)[0] for name in names}


def compare(killed: Training, whole: Training) -> None:
    """Both ended with the same bits, and no update was lost or repeated."""
    assert killed.result()["weights"] == whole.result()["weights"]
    assert killed.result()["groups"] == whole.result()["groups"]
    updates = [line["update"] for line in read_lines(killed.run / "metrics.jsonl")]
    assert updates == list(range(1, whole.updates + 1))


@pytest.fixture
def two(reward_url: str, pinned_url: str, tmp_path: Path) -> Callable[[int], tuple[Training, Training]]:
    """Makes two runs of a number of updates: one that has ended, and one that has not started."""
    write_unlabelled(
        tmp_path / "images", 4, seed=5
    )  # two updates per epoch: the run resumes in another epoch

    def make(updates: int) -> tuple[Training, Training]:
        whole, killed = (
            Training(tmp_path / name, tmp_path / "images", reward_url, pinned_url, updates)
            for name in ("whole", "killed")
        )
        whole.finish()
        return whole, killed

    return make


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(
    two: Callable[[int], tuple[Training, Training]],
) -> None:
    whole, killed = two(4)
    killed.kill(DEADLINE_S + 0.7, at_update=3)
    first_names = served_names(killed.groups()[:2])
    killed.finish("--resume")

    compare(killed, whole)
    assert served_names(killed.groups()[:2]) == first_names, "the first updates were not repeated"
    assert not served_names(killed.groups()[-2:]) & first_names, "the last ones were"


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_ten_times_ends_with_the_bits_of_one_that_was_not(
    two: Callable[[int], tuple[Training, Training]],
) -> None:
    """It is killed at random moments, from the first second of a start to its last updates."""
    kills = 10
    whole, killed = two(kills + 4)
    moment = random.Random(11)
    life_s = killed.kill(DEADLINE_S, at_update=2)
    for number in range(1, kills):
        killed.kill(moment.uniform(0.0, 1.2 * life_s), at_update=number + 2)
    assert Checkpoints(killed.run / "checkpoints", keep=2).newest() is not None
    killed.finish("--resume")
    compare(killed, whole)


def write_checkpoint(checkpoints: Checkpoints, update: int) -> None:
    with checkpoints.writing(update, STATE) as partial:
        (partial / f"checkpoint-{update}" / "solver").mkdir(parents=True)
        (partial / f"checkpoint-{update}" / "solver" / "weights").write_bytes(
            b"weights of " + str(update).encode()
        )


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None
    for update in (5, 10, 100):
        write_checkpoint(checkpoints, update)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "checkpoint-100"
    assert read_state(newest) == STATE


def test_an_incomplete_checkpoint_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
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
    checkpoints = Checkpoints(tmp_path, keep=2)
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
    checkpoints = Checkpoints(tmp_path, keep=2)
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
