"""The rollout server of the check, where vLLM is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ireasoner.trainer.commands.service import Service, free_ports

_START_S = 180.0


@contextmanager
def rollout_server(model: Path, dtype: str, folder: Path) -> Iterator[str]:
    """Runs the real rollout server while the block lasts; gives its address."""
    [port] = free_ports(1)
    flags = ["--model", str(model), "--dtype", dtype, "--port", str(port), "--max-lora-rank", "16"]
    service = Service(
        "rollout server",
        "ireasoner.rollout_server",
        [*flags, "--gpu-memory-utilization", "0.3"],
        log=folder / "rollout.log",
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    with service:
        service.wait_until_ready(_START_S)
        yield f"http://127.0.0.1:{port}"
