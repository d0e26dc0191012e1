"""Memory of the server and its worker under load: `python -m tests.attack.memory --minutes 10 [-- SERVER'S FLAGS]`."""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil

from ireasoner.clients import AsyncRewardClient, Group, Rollout
from tests.attack.effect import MIB
from tests.reward_server.processes import RunningServer, server
from tests.reward_server.requests import rollout

IN_FLIGHT = 64
WORDS = (
    "the",
    "row",
    "reads",
    "two",
    "and",
    "three",
    "so",
    "its",
    "sum",
    "is",
    "five",
    "which",
    "we",
    "add",
    "below",
)
"""Steps have 2 to 30 of them, as in training."""


def groups() -> Iterator[Group]:
    """Groups of 8 rollouts of 4 steps, of all lengths, no two of which are equal."""
    moment = random.Random(0)
    for number in count():
        texts = [
            rollout(
                "7",
                *(
                    f"{number} {r} {s} {' '.join(moment.choices(WORDS, k=moment.randint(2, 30)))}"
                    for s in range(4)
                ),
            )
            for r in range(8)
        ]
        yield Group(str(number), [Rollout(str(r), text) for r, text in enumerate(texts)])


async def load(url: str, end_s: float) -> None:
    """Posts groups until the time is up, `IN_FLIGHT` requests at a time."""
    rest = groups()

    async def caller(client: AsyncRewardClient) -> None:
        while time.monotonic() < end_s:
            await client.score("solver", [next(rest)], config="robust")

    async with AsyncRewardClient(url, timeout_s=120, retry_budget_s=600) as client:
        await asyncio.gather(*(caller(client) for _ in range(IN_FLIGHT)))


def line(running: RunningServer, began_s: float) -> str:
    """What both processes take now."""
    sizes = [
        psutil.Process(each).memory_info().rss / MIB for each in (running.process.pid, running.worker.pid)
    ]
    embedded = running.metric("reward_batch_texts_sum")
    held = running.metric("reward_held_bytes") / MIB
    return (
        f"{time.monotonic() - began_s:6.0f} s   server {sizes[0]:7.1f} MiB   worker {sizes[1]:7.1f} MiB"
        f"   requests {held:6.1f} MiB   {embedded:.0f} texts embedded"
    )


async def watched(running: RunningServer, seconds: float, every_s: float) -> None:
    """Loads a server and prints lines; the last one shows it some seconds after the load."""
    began_s = time.monotonic()
    print(line(running, began_s), flush=True)
    loading = asyncio.create_task(load(running.url, began_s + seconds))
    while not (await asyncio.wait([loading], timeout=every_s))[0]:
        print(await asyncio.to_thread(line, running, began_s), flush=True)
    await loading
    await asyncio.sleep(10)
    print(line(running, began_s), "idle", flush=True)


def main() -> None:
    """Starts a server with the default embedder and loads it."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every-s", type=float, default=10.0, help="seconds from one line to the next")
    parser.add_argument("flags", nargs="*", help="of the server")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder) / "log", "--log-level", "warning", *options.flags) as running,
    ):
        asyncio.run(watched(running, 60 * options.minutes, options.every_s))


if __name__ == "__main__":
    main()
