"""How long groups wait for a scorer of several replicas: a simulation, event by event.

`python -m benchmarks.queueing --groups-per-s 30` prints the delay against the number of replicas. Requests come
at random (Poisson), as from many training runs, each with the groups of one update; the balancer gives each to
a replica at random, or to the shorter queue of two drawn at random, as Ray Serve does. A replica embeds one
request after the other, at a steady speed.
"""

import argparse
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.measured import groups_per_s

Balancer = Literal["random", "two-choices"]


@dataclass(frozen=True)
class Load:
    """What comes in, and how fast one replica works on it."""

    groups_per_s: float
    groups_per_request: int
    service_s: float
    """Seconds that a replica takes for one group."""

    def utilisation(self, replicas: int) -> float:
        """Share of their time that the replicas work; from 1 on the queue grows without end."""
        return self.groups_per_s * self.service_s / replicas


def delays_s(load: Load, replicas: int, balancer: Balancer, requests: int, seed: int) -> NDArray[np.float64]:
    """Seconds that each of `requests` requests waits before a replica begins with it; the first tenth is left out.

    For one replica the mean is Pollaczek and Khinchine's rho s / (2 (1 - rho)), with s the seconds of a request.
    """
    draw = np.random.default_rng(seed)
    gaps_s = draw.exponential(load.groups_per_request / load.groups_per_s, requests)
    arrivals_s = np.cumsum(gaps_s)
    drawn = draw.integers(replicas, size=(requests, 2))
    work_s = load.groups_per_request * load.service_s
    free_at_s = [0.0] * replicas
    waits_s = np.empty(requests)
    for number, (now_s, (one, other)) in enumerate(zip(arrivals_s.tolist(), drawn.tolist(), strict=True)):
        chosen = other if balancer == "two-choices" and free_at_s[other] < free_at_s[one] else one
        start_s = max(now_s, free_at_s[chosen])
        waits_s[number] = start_s - now_s
        free_at_s[chosen] = start_s + work_s
    return waits_s[requests // 10 :]


def table(load: Load, balancer: Balancer, most: int, requests: int, seed: int) -> str:
    """Markdown: utilisation, median and 99th percentile of the delay, from the fewest replicas that keep up."""
    fewest = int(load.groups_per_s * load.service_s) + 1
    lines = ["| replicas | busy | median delay | p99 delay |", "|---|---|---|---|"]
    for replicas in range(fewest, max(fewest, most) + 1):
        waits_s = delays_s(load, replicas, balancer, requests, seed)
        median_s, p99_s = np.percentile(waits_s, [50, 99])
        lines.append(f"| {replicas} | {load.utilisation(replicas):.0%} | {median_s:.2f} s | {p99_s:.2f} s |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queueing", description=__doc__)
    parser.add_argument("--groups-per-s", type=float, required=True, help="groups that all runs post")
    parser.add_argument("--groups-per-request", type=int, default=16, help="groups of one update")
    parser.add_argument(
        "--replica-groups-per-s", type=float, help="that one replica scores; by default what was measured"
    )
    parser.add_argument("--balancer", choices=["random", "two-choices"], default="two-choices")
    parser.add_argument("--most", type=int, default=0, help="most replicas (default: twice the fewest)")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    speed = options.replica_groups_per_s or groups_per_s()
    load = Load(options.groups_per_s, options.groups_per_request, 1 / speed)
    most = options.most or 2 * (int(load.groups_per_s * load.service_s) + 1)
    print(table(load, options.balancer, most, options.requests, options.seed))


if __name__ == "__main__":
    main()
