"""Estimates the scorer cores that a training run needs: `python -m benchmarks.capacity` prints the table.

Every assumption is a field of `Assumptions`, with its reason; the speed of the scorer was measured by `make bench`.
Decoding is bound by the bandwidth of the memory, forward passes and the update by arithmetic. Both reach a stated share
of the hardware's peak, and they take turns on the same GPUs.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import Comparison, read
from benchmarks.workload import GROUPS, groups
from ireasoner.reward_server.embedding.embedder import Runtime

LATEST = Path(__file__).with_name("latest.json")
REQUESTS_IN_FLIGHT = 3
GIGA = 1e9


def served(runtime: str, count: int = GROUPS) -> str:
    """How the names of the comparisons begin that send `count` groups per request to one core, with nothing cached."""
    return f"{runtime}: served, {count} groups per request, {REQUESTS_IN_FLIGHT} in flight, against"


DEFAULTS: tuple[Runtime, ...] = ("openvino-bf16", "openvino-fp32")
"""The default runtime is the first of these that the processor computes in; it is the fastest, too."""


class NotMeasured(Exception):
    """The file of the benchmark lacks the comparison of the default runtime."""


def default_runtime(comparisons: Sequence[Comparison] | None = None) -> tuple[str, Comparison]:
    """The default runtime, and the comparison of its server with its forward pass alone, by default from `LATEST`.

    Raises:
        NotMeasured: The comparison is missing.
    """
    known = {one.name: one for one in (read(LATEST) if comparisons is None else comparisons)}
    for runtime in DEFAULTS:
        if measured := known.get(f"{served(runtime)} forward pass"):
            return runtime, measured
    raise NotMeasured("the speed of the default runtime has not been measured: run make bench")


def groups_per_s(comparisons: Sequence[Comparison] | None = None) -> float:
    """Groups of the benchmark's workload that one core scores per second, by default from `LATEST`.

    Raises:
        NotMeasured: The comparison is missing.
    """
    return default_runtime(comparisons)[1].ours / steps_per_group()


def steps_per_group() -> float:
    """Mean number of steps in a group of the benchmark's workload."""
    return sum(len(rollout.steps) for group in groups(1) for rollout in group) / GROUPS


@dataclass(frozen=True)
class Model:
    """A model: billions of parameters that each token passes through, and the GPUs of one engine."""

    name: str
    parameters: float
    engine_gpus: int


@dataclass(frozen=True)
class Assumptions:
    """None of these was measured by us: an H100 by its data sheet, and a recipe like the paper's with N = 8."""

    flops_per_s: float = 989e12
    """Peak of an H100 SXM in bfloat16, dense."""
    bytes_per_s: float = 3.35e12
    """Peak bandwidth of its memory."""
    arithmetic_share: float = 0.35
    """Share of the peak that training and prompts reach."""
    bandwidth_share: float = 0.5
    """Share of the peak that decoding reaches, including key-value blocks and scheduling."""
    decoded_at_once: int = 128
    """Sequences that an engine decodes together."""
    rollouts: int = 8
    """Rollouts per group."""
    prompt_tokens: int = 1300
    """An image of about a thousand tokens, and the question; the prefix cache reads it once per group."""
    rollout_tokens: int = 200
    forward_flops: float = 2.0
    """Operations of a forward pass, per parameter and token."""
    update_flops: float = 6.0
    """Forward pass, its repetition for the checkpointed activations, backward pass to the activations: the
    backbone is frozen, and its own gradients are not computed."""
    extra_forwards: float = 1.0
    """The reference's log-probabilities; the old ones come with the rollouts."""
    proposer_share: float = 1.2
    """All groups per group of the Solver: one update in six is the Proposer's."""


MODELS = (Model("7B", 7.6, 1), Model("72B", 72.7, 4))
GPUS = (8, 64, 1024)


def gpu_seconds(model: Model, assumed: Assumptions) -> float:
    """GPU-seconds of one group, from its prompt to its part of the update."""
    parameters = model.parameters * GIGA
    arithmetic = assumed.flops_per_s * assumed.arithmetic_share
    step_s = 2 * parameters / model.engine_gpus / (assumed.bytes_per_s * assumed.bandwidth_share)
    decode = assumed.rollouts * assumed.rollout_tokens * step_s * model.engine_gpus / assumed.decoded_at_once
    prompt = assumed.prompt_tokens * assumed.forward_flops * parameters / arithmetic
    trained = assumed.rollouts * (assumed.prompt_tokens + assumed.rollout_tokens)
    flops = assumed.update_flops + assumed.extra_forwards * assumed.forward_flops
    return assumed.proposer_share * (decode + prompt + trained * flops * parameters / arithmetic)


def table(replica_groups_per_s: float, busy: float, assumed: Assumptions) -> str:
    """Groups per second and scorer cores for each model and number of GPUs, in Markdown."""
    lines = ["| model | GPUs | GPU-seconds per group | groups/s | scorer cores |", "|---|---|---|---|---|"]
    for model in MODELS:
        cost = gpu_seconds(model, assumed)
        for gpus in GPUS:
            groups_per_s = gpus / cost
            cores = math.ceil(groups_per_s / replica_groups_per_s / busy)
            lines.append(f"| {model.name} | {gpus:,} | {cost:.1f} | {groups_per_s:.1f} | {cores} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument(
        "--replica-groups-per-s",
        type=float,
        help="groups that one core scores per second (default: as measured)",
    )
    parser.add_argument(
        "--busy", type=float, default=0.6, help="share of the time that the cores should work"
    )
    options = parser.parse_args()
    speed = options.replica_groups_per_s or groups_per_s()
    print(table(speed, options.busy, Assumptions()))
    said = f"One core: {speed:.1f} groups per second, of {steps_per_group():.0f} steps each"
    if not options.replica_groups_per_s:
        runtime, measured = default_runtime()
        said += f", with {runtime}, as measured on {measured.measured}"
    print(f"\n_{said}._")


if __name__ == "__main__":
    main()
