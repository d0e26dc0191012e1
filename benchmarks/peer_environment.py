"""The environment of the peers that conflict with our dependencies: `.venvs/peers`, which is made if it is missing."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peer import PeerUnavailable, reason
from ireasoner.reward_server.embedding.load import packaged_minilm

ROOT = Path(__file__).resolve().parents[1]
NAME = "peers"
WORKER = Path(__file__).with_name("onnx_worker.py")
MAKE_DEADLINE_S = 3600.0
EXPORT_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """An environment with infinity and fastembed, and our default embedder's weights as ONNX.

    Attributes:
        python: Its interpreter.
        model: A folder with the weights, also as `model.onnx`.
        versions: Of `infinity-emb` and `fastembed`.
        megabytes: Its size on the disk.
    """

    python: Path
    model: Path
    versions: dict[str, str]
    megabytes: int

    @classmethod
    def made(cls, scratch: Path) -> "PeerEnvironment":
        """The environment of the checkout, and the weights exported into `scratch`.

        Raises:
            PeerUnavailable: One of them cannot be made.
        """
        folder = ROOT / ".venvs" / NAME
        if not folder.is_dir():
            print(f"peers: making {folder.relative_to(ROOT)}, 1.9 GB, once", file=sys.stderr, flush=True)
        _run([str(ROOT / "scripts" / "framework-env"), NAME, "benchmarks"], MAKE_DEADLINE_S)
        python = folder / "bin" / "python"
        model = scratch / "minilm"
        versions = json.loads(_run([str(python), "-P", str(WORKER), "versions"], EXPORT_DEADLINE_S))
        _run(
            [str(python), "-P", str(WORKER), "export", str(packaged_minilm()), str(model)], EXPORT_DEADLINE_S
        )
        return cls(python, model, versions, disk_bytes(folder) // 10**6)

    @property
    def note(self) -> str:
        """Its size, in words."""
        return f"in an environment of {self.megabytes / 1000:.1f} GB"


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk; a file with two names counts once."""
    found = {}
    for file in folder.rglob("*"):
        status = file.lstat()
        found[status.st_ino] = 512 * status.st_blocks
    return sum(found.values())


def _run(command: list[str], deadline_s: float) -> str:
    """The output of a command; what it says besides is shown only if it fails."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailable(f"{Path(command[0]).name}: {error}") from error
    if ended.returncode:
        raise PeerUnavailable(f"{' '.join(command[:3])} failed: {reason(ended.stderr)}")
    return ended.stdout
