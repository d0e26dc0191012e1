"""The rollout server of the check, where vLLM is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ireasoner.trainer.commands.service import LocalServer, free_ports

_START_S = 180.0


@contextmanager
def rollout_server(model: Path, dtype: str, folder: Path) -> Iterator[str]:
    """Runs the real rollout server while the block lasts; gives its address."""
    [port] = free_ports(1)
    flags = [
        "--model",
        str(model),
        "--dtype",
        dtype,
        "--max-lora-rank",
        "16",
        "--gpu-memory-utilization",
        "0.3",
    ]
    with LocalServer("rollout_server", port, flags, log=folder / "rollout.log") as server:
        server.wait_until_ready(_START_S)
        yield server.url
