"""`python -m scripts.rehearsal --tokenizer FOLDER`: a run at real size on a CPU, into docs/rehearsal.md."""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replication.provenance import processor
from scripts.rehearsal import ROOT
from scripts.rehearsal.kept_checkpoint import OtherCheckpointError, kept_checkpoint
from scripts.rehearsal.page import page
from scripts.rehearsal.size import LARGE, SMALL, Size

_TINY_TOKENIZER = ROOT / "models" / "digit-grids"


def rehearse(size: Size, tokenizer: Path, work: Path, *, reward_url: str | None = None) -> dict[str, Any]:
    """Writes the checkpoint and runs everything; returns what is written.

    Args:
        size: How large it is.
        tokenizer: Folder of a tokenizer; see `write_checkpoint`.
        work: Folder for the checkpoint, unless it has one, and for the run.
        reward_url: A reward server that runs already; by default one is started.

    Raises:
        OtherCheckpointError: `work` has a checkpoint of another shape.
    """
    from scripts.rehearsal.checkpoint import parameters
    from scripts.rehearsal.rehearsal import Rehearsal

    started_s = time.perf_counter()
    model = kept_checkpoint(size.shape, tokenizer, work)
    run = work / "rehearsal"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    measured = Rehearsal(size, model, run, reward_url).run()
    described = {name: value for name, value in asdict(size).items() if name not in {"shape", "kills"}}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": time.perf_counter() - started_s,
        "parameters": parameters(model),
        "size": {
            **described,
            "layers": size.shape["text_config"]["num_hidden_layers"],
            "vision_layers": size.shape["vision_config"]["depth"],
            "vocabulary": size.shape["text_config"]["vocab_size"],
            "image_tokens": size.max_pixels // 28**2,
        },
        "measured": measured,
    }


def write(document: dict[str, Any], out: Path) -> None:
    """Writes the figures, and the page from them."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "rehearsal.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "rehearsal.md").write_text(page(document))


def main(arguments: list[str]) -> int:
    """Runs the rehearsal; the status is 2 if a flag is missing, or `--work` has a checkpoint of another shape."""
    parser = argparse.ArgumentParser(prog="python -m scripts.rehearsal", description=__doc__)
    parser.add_argument("--tokenizer", type=Path, help="folder of the tokenizer of a Qwen2.5 model")
    parser.add_argument("--small", action="store_true", help="a tiny model, with its own tokenizer")
    parser.add_argument(
        "--out", type=Path, help="folder of the results (default: docs; --small has no default)"
    )
    parser.add_argument(
        "--work", type=Path, help="folder for the checkpoint, which is used again, and for the run"
    )
    parser.add_argument("--layers", type=int, help="most layers of each tower (default: 36 and 32)")
    given = parser.parse_args(arguments)
    if given.tokenizer is None and not given.small:
        print(
            "rehearsal: give --tokenizer FOLDER, the folder of a Qwen2.5 tokenizer, or --small",
            file=sys.stderr,
        )
        return 2
    if given.out is None and given.small:
        print("rehearsal: give --out FOLDER with --small: docs has the figures at real size", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        size = SMALL if given.small else LARGE
        if given.layers is not None:
            size = size.with_layers(given.layers)
        try:
            document = rehearse(size, given.tokenizer or _TINY_TOKENIZER, work)
        except OtherCheckpointError as error:
            print(f"rehearsal: {error}", file=sys.stderr)
            return 2
        write(document, given.out or ROOT / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
