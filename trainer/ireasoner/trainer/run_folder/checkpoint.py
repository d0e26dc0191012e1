"""Checkpoints: all that a run needs to go on, written whole or not at all.

    checkpoint-60/         transformers' and TRL's state: optimizer, schedule, RNG, counters, data position
        solver/ proposer/  the adapters
        loop.json          what they do not know of: versions, KL coefficients, lengths of the logs, every file's size

A checkpoint is written beside the others under a name that nothing reads, and renamed when it is on the disk.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from ireasoner.trainer.errors import CheckpointError
from ireasoner.trainer.settings import Role

logger = logging.getLogger(__name__)

_STATE = "loop.json"
_PARTIAL = ".partial"


class LoopState(BaseModel):
    """What the loop itself has to remember.

    Attributes:
        update: Updates that the run has had.
        versions: Versions that each role's adapter has had; an update without anything to learn makes none.
        kl_betas: The KL coefficient of each role.
        moving_baselines: The moving baseline of each role; used with `advantage = "moving_baseline"` alone.
        fingerprint: What the groups were scored by.
        log_bytes: Length of each log of the run folder when the checkpoint was taken, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    update: int
    versions: dict[Role, int]
    kl_betas: dict[Role, float]
    moving_baselines: dict[Role, float]
    fingerprint: str
    log_bytes: dict[str, int]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they lie.
        keep: How many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    @contextmanager
    def writing(self, update: int, state: LoopState) -> Iterator[Path]:
        """A folder to write `checkpoint-{update}` into; when the block ends, it is in place and complete.

        Raises:
            CheckpointError: It could not be written (a full disk, say); the older ones are as they were.
        """
        partial = self.partial
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            yield partial
            written = partial / f"checkpoint-{update}"
            files = {str(p.relative_to(written)): p.stat().st_size for p in written.rglob("*") if p.is_file()}
            document = {"state": state.model_dump(), "files": files}
            (written / _STATE).write_text(json.dumps(document), encoding="utf-8")
            for path in written.rglob("*"):
                _to_disk(path)
            final = self._folder / written.name
            shutil.rmtree(final, ignore_errors=True)
            written.rename(final)
            _to_disk(self._folder)
        except (
            OSError,
            RuntimeError,
            SafetensorError,
        ) as error:  # torch tells of a full disk by a RuntimeError
            newest = self.newest()
            kept = f"the run can go on from {newest.name}" if newest else "there is none before it"
            raise CheckpointError(f"checkpoint-{update} could not be written: {error}; {kept}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in self._complete()[self._keep :]:
            shutil.rmtree(old)

    @property
    def partial(self) -> Path:
        """Where a checkpoint lies while it is written."""
        return self._folder / _PARTIAL

    def newest(self) -> Path | None:
        """The newest complete checkpoint; one that is cut short is passed over with a warning."""
        complete = self._complete()
        return complete[0] if complete else None

    def _complete(self) -> list[Path]:
        """Complete checkpoints, the newest first."""
        found = []
        for path in self._folder.glob("checkpoint-*"):
            fault = _fault(path)
            if fault is None:
                found.append(path)
            else:
                logger.warning("%s is passed over: %s", path, fault)
        return sorted(found, key=lambda path: -int(path.name.rpartition("-")[2]))


def read_state(checkpoint: Path) -> LoopState:
    """The loop's state of a complete checkpoint."""
    return LoopState.model_validate(_document(checkpoint)["state"])


def _document(checkpoint: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    return document


def _fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is complete."""
    try:
        document = _document(checkpoint)
        LoopState.model_validate(document["state"])
        for name, size in document["files"].items():
            actual = (checkpoint / name).stat().st_size
            if actual != size:
                return f"{name} has {actual} of {size} bytes"
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
