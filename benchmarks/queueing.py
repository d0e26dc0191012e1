"""Simulates how long groups wait for a scorer with several replicas, event by event.

`python -m benchmarks.queueing --groups-per-s 30` prints the delay by number of replicas. Requests arrive at random
(Poisson), as from many training runs, each with the groups of one update. The balancer sends each to a random replica,
or to the shorter queue of two random replicas, as Ray Serve does. A replica embeds one request after the other, at a
constant speed.
"""

import argparse
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.capacity import groups_per_s

Balancer = Literal["random", "two-choices"]


@dataclass(frozen=True)
class Load:
    """The load, and the speed of one replica."""

    groups_per_s: float
    groups_per_request: int
    service_s: float
    """Seconds that a replica needs for one group."""

    def utilisation(self, replicas: int) -> float:
        """Share of the time that the replicas work; from 1 on, the queue grows without end."""
        return self.groups_per_s * self.service_s / replicas


def delays_s(load: Load, replicas: int, balancer: Balancer, requests: int, seed: int) -> NDArray[np.float64]:
    """Seconds that each request waits before a replica begins it; the first tenth of `requests` is left out.

    For one replica the mean follows Pollaczek and Khinchine: rho s / (2 (1 - rho)), where a request takes s seconds.
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
    """Utilisation, median and 99th percentile of the delay, from the fewest replicas that keep up, in Markdown."""
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
    parser.add_argument(
        "--groups-per-s", type=float, required=True, help="groups that all runs post per second"
    )
    parser.add_argument("--groups-per-request", type=int, default=16, help="groups of one update")
    parser.add_argument(
        "--replica-groups-per-s",
        type=float,
        help="groups that one replica scores per second (default: as measured)",
    )
    parser.add_argument("--balancer", choices=["random", "two-choices"], default="two-choices")
    parser.add_argument(
        "--most", type=int, default=0, help="largest number of replicas (default: twice the fewest)"
    )
    parser.add_argument("--requests", type=int, default=100_000, help="requests to simulate")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    options = parser.parse_args()
    speed = options.replica_groups_per_s or groups_per_s()
    load = Load(options.groups_per_s, options.groups_per_request, 1 / speed)
    most = options.most or 2 * (int(load.groups_per_s * load.service_s) + 1)
    print(table(load, options.balancer, most, options.requests, options.seed))


if __name__ == "__main__":
    main()
