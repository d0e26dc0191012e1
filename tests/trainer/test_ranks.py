"""Several processes: whole groups, one publisher, one writer, and the weights that one process would have trained."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ireasoner.trainer.images import open_images
from ireasoner.trainer.loop import assembly
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import ImageDataSettings
from tests.conftest import MODEL
from tests.rollout_server.running import free_port
from tests.trainer.datasets_of_images import images, parquet
from tests.trainer.offline import backbone_of, offline_settings, processor_of


def torchrun(processes: int) -> list[str]:
    """Starts a module in several processes."""
    return ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"]


TORCHRUN = torchrun(2)


def launch(
    where: Path, *runs: str, launcher: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `runs` of tests.trainer.launched in turn, in one process or in those of a launcher."""
    port = ["--master-port", str(free_port())] if launcher else []
    command = [
        sys.executable,
        "-m",
        *launcher[:1],
        *port,
        *launcher[1:],
        "tests.trainer.launched",
        str(where),
    ]
    return subprocess.run(
        [*command, *runs],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def run_all(
    where: Path,
    *runs: str,
    launcher: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> str:
    """Draws the images of runs, launches them, and returns what they printed."""
    for run in runs:
        (where / run).mkdir(parents=True)
        offline_settings(where / run)
    done = launch(where, *runs, launcher=launcher, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("ranks")
    run_all(where / "one", "whole", "views", "sparse", "failing")
    run_all(where / "two", "whole", "views", "sparse", "failing", "long", launcher=TORCHRUN)
    return where


def test_every_process_has_the_canary_and_the_first_alone_reads_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = open_images(parquet(tmp_path / "a.parquet", images(2)), ImageDataSettings())

    class Second(Ranks):
        def from_first(self, make: Callable[[], Any]) -> Any:
            return found.first_readable()

    monkeypatch.setattr(assembly, "Ranks", Second)
    parts: Any = {
        "settings": offline_settings(tmp_path, rollout={"canary_every": 1}),
        "backbone": backbone_of(str(MODEL)),
        "processor": processor_of(str(MODEL)),
        "images": pickle.loads(pickle.dumps(found)),
    }
    others: Any = dict.fromkeys(("rollouts", "scorer", "run", "shadow"))
    assert assembly.Assembly(**parts, **others).canary() is not None


def trained(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(file)
    return content


@pytest.mark.slow
@pytest.mark.parametrize("run", ["whole", "views", "sparse"])
def test_two_processes_train_what_one_does(folder: Path, run: str) -> None:
    require_equal(folder / "one" / run, folder / "two" / run, processes=2)


def require_equal(one: Path, several: Path, processes: int) -> None:
    """Several processes have equal adapters, which differ from those of one by rounding."""
    mine = trained(one / "rank0.pt")["weights"]
    first, *others = (trained(several / f"rank{rank}.pt")["weights"] for rank in range(processes))
    moved = dict.fromkeys(("solver", "proposer"), 0.0)
    for name, value in mine.items():
        assert all(torch.equal(first[name], other[name]) for other in others), f"{name}: the processes differ"
        torch.testing.assert_close(first[name], value, rtol=2e-2, atol=2e-5, msg=name)
        if "lora_B" in name:
            role = "solver" if ".solver." in name else "proposer"
            moved[role] = max(moved[role], value.abs().max().item())
    assert min(moved.values()) > 1e-3, "both roles were trained"


@pytest.mark.slow
def test_only_the_first_process_talks_to_servers_and_writes(folder: Path) -> None:
    calls = [trained(folder / "two" / "whole" / f"rank{rank}.pt")["calls"] for rank in (0, 1)]
    assert calls == [trained(folder / "one" / "whole" / "rank0.pt")["calls"], 0]
    for name in ("groups.jsonl", "metrics.jsonl"):
        one, two = (list(read_lines(folder / runs / "whole" / "run" / name)) for runs in ("one", "two"))
        assert [line["update"] for line in two] == [line["update"] for line in one]
    groups = list(read_lines(folder / "two" / "whole" / "run" / "groups.jsonl"))
    assert all(len(group["trained_on"]) == 4 for group in groups), "groups are whole"


@pytest.mark.slow
def test_two_processes_show_the_views_that_one_does(folder: Path) -> None:
    one, two = (groups_without_names(folder / runs / "views") for runs in ("one", "two"))
    shown = [[each.get("views") for each in groups] for groups in (one, two)]
    assert shown[0] == shown[1]
    assert [len(views) for views in shown[0] if views is not None] == [4] * 8


@pytest.mark.slow
def test_metrics_of_several_processes_equal_those_of_one(folder: Path) -> None:
    one, two = (
        list(read_lines(folder / runs / "whole" / "run" / "metrics.jsonl")) for runs in ("one", "two")
    )
    for mine, both in zip(one, two, strict=True):
        role = mine["role"]
        for name in ("reward", "reward_std", "rollouts_trained", "no_spread_rate", "completions/mean_length"):
            assert both[f"{role}/{name}"] == pytest.approx(mine[f"{role}/{name}"], rel=1e-5), name
        for name in ("grad_norm", "loss"):
            assert both[f"{role}/{name}"] == pytest.approx(mine[f"{role}/{name}"], rel=2e-2, abs=1e-6), name


@pytest.mark.slow
def test_an_error_in_the_first_process_ends_all(folder: Path) -> None:
    assert [(folder / "two" / "failing" / f"rank{rank}.error").read_text() for rank in (0, 1)] == ["gone"] * 2
    saved = folder / "two" / "failing" / "run" / "checkpoints" / "checkpoint-1"
    assert (saved / "loop.json").exists()
    assert all((saved / f"rng_state_{rank}.pth").exists() for rank in (0, 1)), "both saved their random state"


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_processes_that_are_killed_resume_and_end_bit_equal(folder: Path, tmp_path: Path) -> None:
    require_bit_equal_after_kills(folder / "two", tmp_path, {})


def require_bit_equal_after_kills(whole: Path, killed: Path, environment: Mapping[str, str]) -> None:
    """First one is killed, then one runs out of memory, then one gets a SIGTERM, which both act on."""
    shutil.copytree(whole / "long" / "images", killed / "long" / "images")
    checkpoints = killed / "long" / "run" / "checkpoints"
    for struck, newest, reported in (("1@2", 2, "-9"), ("1!3", 3, "out of memory"), ("1~4", 5, "SIGTERM")):
        done = launch(killed, f"long:{struck}", launcher=TORCHRUN, environment=environment)
        assert reported in done.stderr, done.stdout + done.stderr
        assert (checkpoints / f"checkpoint-{newest}" / "loop.json").exists(), done.stdout + done.stderr
        assert not list(killed.rglob("rank*.pt"))
    done = launch(killed, "long", launcher=TORCHRUN, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr

    for rank in (0, 1):
        expected = trained(whole / "long" / f"rank{rank}.pt")["weights"]
        resumed = trained(killed / "long" / f"rank{rank}.pt")["weights"]
        assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    assert groups_without_names(killed / "long") == groups_without_names(whole / "long")
    updates = [line["update"] for line in read_lines(killed / "long" / "run" / "metrics.jsonl")]
    assert updates == [1, 2, 3, 4, 5, 6]


def groups_without_names(folder: Path) -> list[dict[str, Any]]:
    """The groups of a run, without the served names of adapters, which differ with each start."""
    groups = list(read_lines(folder / "run" / "groups.jsonl"))
    for group in groups:
        group["image"] = Path(group["image"]).name
        for one in (group, *group.get("rollouts", []), *group.get("proposals", [])):
            for key in ("policy", "proposed_by"):
                if key in one:
                    one[key] = "-".join(str(one[key]).split("-")[-2:])
    return groups
