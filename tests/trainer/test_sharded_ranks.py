"""Several processes with a sharded backbone: the updates, publications and checkpoints of one process."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer import launched
from tests.trainer.offline import offline_settings
from tests.trainer.test_ranks import (
    TORCHRUN,
    launch,
    require_bit_equal_after_kills,
    require_equal,
    run_all,
    torchrun,
    trained,
)

SHARDED = {"ACCELERATE_USE_FSDP": "true"}

slow = pytest.mark.slow
pytestmark = pytest.mark.timeout(600)


def test_two_processes_share_a_backbone_and_train_what_one_does(tmp_path: Path) -> None:
    require_that_two_train_what_one_does("short", tmp_path)


@slow
def test_with_gradient_checkpointing_too(tmp_path: Path) -> None:
    require_that_two_train_what_one_does("checkpointed", tmp_path)


def require_that_two_train_what_one_does(run: str, where: Path) -> None:
    """Two processes with a sharded backbone train what one with a whole backbone does, and each holds its part."""
    for folder in ("one", "two"):
        (where / folder / run).mkdir(parents=True)
        offline_settings(where / folder / run)
    launched.run(where / "one" / run, run, sharded=False)
    done = launch(where / "two", run, launcher=TORCHRUN, environment=SHARDED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sharded over 2 processes, which hold " in done.stdout
    require_equal(where / "one" / run, where / "two" / run, processes=2)
    whole = trained(where / "one" / run / "rank0.pt")
    parts = [trained(where / "two" / run / f"rank{rank}.pt") for rank in (0, 1)]
    require_parts(whole, parts)
    assert [part["calls"] for part in parts] == [whole["calls"], 0], "the first alone samples and publishes"


def require_parts(whole: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    """Together the processes hold the backbone once, and each of them both adapters."""
    adapters = sum(value.nbytes for value in whole["weights"].values())
    backbone, *held = (run["held"] - adapters for run in (whole, *parts))
    assert sum(held) == pytest.approx(backbone, rel=0.01), "a bias of the head is whole in each"
    assert max(held) < 1.05 * backbone / len(parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("sharded")
    run_all(where / "one", "whole", "sparse", "canary")
    two = run_all(
        where / "2", "whole", "sparse", "canary", "stale", "long", launcher=TORCHRUN, environment=SHARDED
    )
    four = run_all(where / "4", "whole", launcher=torchrun(4), environment=SHARDED)
    (where / "printed").write_text(two + four)
    return where


@slow
@pytest.mark.parametrize(("processes", "run"), [(2, "whole"), (4, "whole"), (2, "sparse"), (2, "canary")])
def test_processes_that_share_a_backbone_train_what_one_does(folder: Path, processes: int, run: str) -> None:
    require_equal(folder / "one" / run, folder / str(processes) / run, processes)


@slow
@pytest.mark.parametrize("processes", [2, 4])
def test_each_process_holds_its_part_of_the_backbone(folder: Path, processes: int) -> None:
    whole = trained(folder / "one" / "whole" / "rank0.pt")
    parts = [trained(folder / str(processes) / "whole" / f"rank{rank}.pt") for rank in range(processes)]
    require_parts(whole, parts)
    assert f"sharded over {processes} processes, which hold " in (folder / "printed").read_text()


@slow
def test_the_first_process_publishes_and_the_canary_checks_what_it_published(folder: Path) -> None:
    calls = [trained(folder / "2" / "canary" / f"rank{rank}.pt")["calls"] for rank in (0, 1)]
    assert calls == [trained(folder / "one" / "canary" / "rank0.pt")["calls"], 0]
    for rank in (0, 1):
        error = (folder / "2" / "stale" / f"rank{rank}.error").read_text()
        assert "offline (engine 0) does not serve " in error
        assert "as it was trained" in error


@slow
def test_a_checkpoint_is_that_of_processes_with_a_backbone_each(folder: Path) -> None:
    sharded, whole = (
        {path.relative_to(run) for path in (run / "run" / "checkpoints" / "checkpoint-4").rglob("*")}
        for run in (folder / "2" / "whole", folder / "one" / "whole")
    )
    of_processes = {path for path in sharded | whole if path.name.startswith("rng_state")}
    assert sharded - of_processes == whole - of_processes
    assert {"solver", "proposer", "optimizer.pt"} <= {path.name for path in sharded}


@slow
def test_sharded_processes_that_are_killed_resume_and_end_bit_equal(folder: Path, tmp_path: Path) -> None:
    require_bit_equal_after_kills(folder / "2", tmp_path, SHARDED)
