"""The reward server and the rollout server that all runs of a table share."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from ireasoner.trainer.commands.service import LocalServer, Service, free_ports

REWARD_DEADLINE_S = 180.0
_ROLLOUT_DEADLINE_S = 600.0

_ROLLOUTS_PER_RUN = 64
"""About how many rollouts a run samples at once: the groups of an update."""


def reward_server(model: Path, logs: Path, port: int) -> LocalServer:
    """A reward server to start; it embeds steps as in the paper, by the model's token embeddings."""
    flags = ("--threads", "1", "--embedder", "token-mean", "--token-mean-checkpoint", str(model))
    return LocalServer("reward_server", port, flags, log=logs / "reward-server.log")


@contextmanager
def servers(
    model: Path, logs: Path, *, max_lora_rank: int, parallel: int, console: Console
) -> Iterator[tuple[str, str, Sequence[Service]]]:
    """Starts both servers for the block; gives the URLs of the reward and the rollout server, and both services.

    Raises:
        ServiceError: A server did not become ready.
    """
    reward_port, rollout_port = free_ports(2)
    reward = reward_server(model, logs, reward_port)
    rollout = LocalServer(
        "rollout_server",
        rollout_port,
        [
            *("--model", str(model)),
            *("--max-lora-rank", str(max_lora_rank)),
            *("--max-loras", str(2 * parallel)),
            *("--max-num-seqs", str(_ROLLOUTS_PER_RUN * parallel)),
        ],
        log=logs / "rollout-server.log",
    )
    with ExitStack() as stack:
        services = [stack.enter_context(service) for service in (reward, rollout)]
        console.print(f"the servers are starting (logs: {logs})", highlight=False)
        for service, deadline_s in zip(services, (REWARD_DEADLINE_S, _ROLLOUT_DEADLINE_S), strict=True):
            service.wait_until_ready(deadline_s)
        yield reward.url, rollout.url, services
