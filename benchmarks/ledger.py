"""`python -m benchmarks.ledger`: the time of every page of the explorer, over a large ledger, while scoring goes on.

It fills a ledger with 1,000 updates of 64 groups of 8 rollouts, unless the folder has one, and asks a server, which
scores other groups meanwhile, for each page. `--quick` fills a small one and only shows that it works.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx

from benchmarks import served
from benchmarks.filled_ledger import NEEDLE, fill
from benchmarks.server_process import ready_server
from benchmarks.workload import GROUPS, groups
from ireasoner.reward_server.ledger.schema import FILE

READY_DEADLINE_S = 400.0
GOAL_MS = 200.0
UPDATES, QUICK_UPDATES = 1_000, 2
IN_FLIGHT = 2
TRIES = 5
PAGES: Sequence[tuple[str, str]] = (
    ("runs", "/ledger/runs"),
    ("timeline", "/ledger/runs/0-1/timeline"),
    ("newest groups", "/ledger/groups"),
    ("by reward", "/ledger/groups?sort=reward"),
    ("by excess, smallest first", "/ledger/groups?sort=excess&order=asc&run=0-1"),
    ("flipped and wrong", "/ledger/groups?flag=flipped&flag=wrong"),
    ("ties by spread", "/ledger/groups?flag=tie&sort=spread"),
    ("low agreement by reward", "/ledger/groups?max_dominant_share=0.7&sort=reward"),
    ("some updates by words", "/ledger/groups?update_from=10&update_until=20&sort=words"),
    ("search: a rare text", f"/ledger/groups?{urlencode({'q': NEEDLE})}"),
    ("search: a common word", "/ledger/groups?q=the"),
    ("search: a common word by reward", "/ledger/groups?q=the&sort=reward"),
    ("search: Chinese", f"/ledger/groups?{urlencode({'q': '图表 77'})}"),
    ("search: two characters", f"/ledger/groups?{urlencode({'q': '图表'})}"),
    ("search: two characters that nothing has", "/ledger/groups?q=zq"),
    ("group", "/ledger/groups/0-100"),
    ("neighbours", "/ledger/groups/0-100/neighbours"),
    ("audit", "/ledger/runs/0-1/audit"),
)


@dataclass(frozen=True, slots=True)
class PageTime:
    """The time of a page: the median and the longest of some tries, in milliseconds."""

    name: str
    median_ms: float
    longest_ms: float


@contextmanager
def explorer(folder: Path) -> Iterator[str]:
    """A server over a ledger, on both cores; yields its address once it can score."""
    arguments = ("explore", str(folder), "--port", "0")
    with ready_server("ireasoner.cli", *arguments, deadline_s=READY_DEADLINE_S) as (_, url):
        yield url


async def page_times(url: str, in_flight: int) -> list[PageTime]:
    """The time of each page while `in_flight` requests are scored at any time."""
    seeds = iter(range(10**6, 10**7))

    async def score(http: httpx.AsyncClient) -> None:
        while True:
            sent = served.body(groups(next(seeds), 8))
            answer = await http.post(f"{url}/score/solver", content=sent, headers=served.JSON)
            assert answer.status_code == 200, answer.text

    async with httpx.AsyncClient(timeout=300) as http, httpx.AsyncClient(timeout=300) as reading:
        scoring = [asyncio.create_task(score(http)) for _ in range(in_flight)]
        try:
            return [await _page_time(reading, url, *page) for page in PAGES]
        finally:
            for task in scoring:
                task.cancel()
            await asyncio.gather(*scoring, return_exceptions=True)


async def _page_time(http: httpx.AsyncClient, url: str, name: str, path: str) -> PageTime:
    times_ms = []
    for _ in range(TRIES):
        started_s = time.perf_counter()
        answer = await http.get(f"{url}{path}")
        times_ms.append(1e3 * (time.perf_counter() - started_s))
        assert answer.status_code == 200, f"{path}: {answer.text}"
    times_ms.sort()
    return PageTime(name, times_ms[TRIES // 2], times_ms[-1])


def fill_if_missing(folder: Path, updates: int) -> None:
    """Fills a ledger with this many updates of 64 groups, unless the folder has one."""
    if (folder / FILE).exists():
        return
    for count in fill(folder, updates, GROUPS):
        if count % (50 * GROUPS) == 0:
            print(f"{count} groups", file=sys.stderr, flush=True)


def measured(folder: Path, updates: int, in_flight: int = IN_FLIGHT) -> list[PageTime]:
    """The time of each page of a folder's ledger, which is filled if it has none."""
    fill_if_missing(folder, updates)
    with explorer(folder) as url:
        return asyncio.run(page_times(url, in_flight))


def main() -> int:
    """Prints the times; returns 0 whether the goal is reached or not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--folder", type=Path, help="the ledger's folder, which is filled if it has none")
    parser.add_argument("--updates", type=int, default=UPDATES, help="updates of 64 groups [%(default)s]")
    parser.add_argument(
        "--in-flight", type=int, default=IN_FLIGHT, help="requests scored meanwhile [%(default)s]"
    )
    parser.add_argument("--quick", action="store_true", help=f"a ledger of {QUICK_UPDATES} updates")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "ledger"
        times = measured(folder, QUICK_UPDATES if options.quick else options.updates, options.in_flight)
    for each in times:
        print(f"{each.name:42}{each.median_ms:8.0f} ms{each.longest_ms:8.0f} ms")
    slow = [each.name for each in times if each.median_ms > GOAL_MS]
    print(f"median and longest of {TRIES}; over {GOAL_MS:.0f} ms: {', '.join(slow) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
