"""Checkpoints: everything that a run needs to resume, written completely or not at all.

    checkpoint-60/         state of transformers and TRL: optimizer, schedule, RNG, counters, data position
        solver/ proposer/  the adapters, and teacher/ in a run with a slow teacher
        loop.json          state of this loop: versions, KL coefficients, lengths of the logs; and every file's size

A checkpoint is written under a temporary name beside the others, and renamed once it is on the disk.
"""

import json
import logging
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from ireasoner.trainer.errors import CheckpointError
from ireasoner.trainer.settings import Role

logger = logging.getLogger(__name__)

_STATE = "loop.json"
_PARTIAL = ".partial"


class LoopState(BaseModel):
    """The state of the loop that TRL does not save.

    Attributes:
        update: Number of updates done.
        versions: Number of published versions of each role's adapter; an update with nothing to learn adds none.
        kl_betas: KL coefficient of each role.
        moving_baselines: Moving average of each role's rewards, for a run with a moving baseline.
        fingerprint: Fingerprint of the scoring.
        log_bytes: Length in bytes of each log of the run folder at the checkpoint, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    update: int
    versions: dict[Role, int]
    kl_betas: dict[Role, float]
    moving_baselines: dict[Role, float]
    fingerprint: str
    log_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class RandomState:
    """The states of the random number generators of Python, NumPy and torch (CPU and every GPU) at its creation."""

    python: Any = field(default_factory=random.getstate)
    numpy: Any = field(default_factory=np.random.get_state)
    cpu: torch.Tensor = field(default_factory=torch.get_rng_state)
    gpus: list[torch.Tensor] = field(
        default_factory=lambda: torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    )

    def write(self, path: Path) -> None:
        """Writes the states as transformers writes those of one of several processes."""
        states = {"python": self.python, "numpy": self.numpy, "cpu": self.cpu}
        torch.save(states | ({"cuda": self.gpus} if self.gpus else {}), path)

    def restore(self) -> None:
        """Sets the generators to these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Their folder.
        keep: Number of newest checkpoints to keep.
        every: Besides the newest one, those at multiples of this number of updates are kept before others, such as one
            that an interruption wrote.
    """

    def __init__(self, folder: Path, keep: int, every: int) -> None:
        self._folder = folder
        self._keep = keep
        self._every = every

    @contextmanager
    def writing(self, update: int, state: LoopState) -> Iterator[Path]:
        """Gives a folder to write `checkpoint-{update}` into; when the block ends, the checkpoint is complete.

        Raises:
            CheckpointError: It could not be written (a full disk, say); the older ones are unchanged.
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
        ) as error:  # torch reports a full disk as a RuntimeError
            newest = self.newest()
            kept = f"the run can resume from {newest.name}" if newest else "no earlier checkpoint exists"
            raise CheckpointError(f"checkpoint-{update} could not be written: {error}; {kept}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in self._superfluous():
            shutil.rmtree(old)

    @property
    def partial(self) -> Path:
        """Folder of a checkpoint that is being written."""
        return self._folder / _PARTIAL

    def newest(self) -> Path | None:
        """The newest complete checkpoint; incomplete ones are skipped with a warning."""
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
                logger.warning("%s is skipped: %s", path, fault)
        return sorted(found, key=lambda path: -_update_of(path))

    def _superfluous(self) -> list[Path]:
        """The complete checkpoints that need not be kept: the oldest of another update, then the oldest."""
        others = self._complete()[1:]
        return sorted(others, key=lambda path: _update_of(path) % self._every != 0)[self._keep - 1 :]


def _update_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def read_state(checkpoint: Path) -> LoopState:
    """The loop's state in a complete checkpoint."""
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
