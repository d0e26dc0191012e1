"""The checkpoint in a folder of work: written once, and used again if it has the shape that is asked for."""

import json
import shutil
from pathlib import Path
from typing import Any


class OtherCheckpointError(ValueError):
    """The folder has a checkpoint of another shape, or one that is not whole."""


def kept_checkpoint(shape: dict[str, Any], tokenizer: Path, work: Path) -> Path:
    """The folder `model` in `work`, which gets its name when it is complete.

    Args:
        shape: Fields of the config.
        tokenizer: Folder of a tokenizer; see `write_checkpoint`.
        work: Folder for the checkpoint.

    Raises:
        OtherCheckpointError: It is there with another shape.
    """
    from scripts.rehearsal.checkpoint import write_checkpoint

    model = work / "model"
    if model.exists():
        _require(model, shape)
        return model
    partial = work / "model.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a rehearsal that was ended
    return write_checkpoint(shape, tokenizer, partial).rename(model)


def _require(model: Path, shape: dict[str, Any]) -> None:
    written = model / "config.json"
    config = json.loads(written.read_text()) if written.exists() else {}
    for part, fields in shape.items():
        for name, value in fields.items():
            found = config.get(part, {}).get(name)
            if found != value:
                raise OtherCheckpointError(
                    f"{model} has a checkpoint of another shape ({part}.{name} is {found}, not {value}): remove it, "
                    "or give another --work"
                )
