"""What a run of a given size needs of a scorer, on paper: `python -m benchmarks.capacity` prints the table.

Everything that is assumed is a field of `Assumptions`, with its reason; what the scorer does was measured by
`make bench`. Rollouts are decoding at the memory's bandwidth, the forward passes and the
update are arithmetic; both reach a stated share of the hardware's peak, and they take turns on the same GPUs.
"""

import argparse
import math
from dataclasses import dataclass

from benchmarks.measured import groups_per_s, steps_a_group

GIGA = 1e9


@dataclass(frozen=True)
class Model:
    """A model, by the billions of parameters that each token passes, and the GPUs that one engine spreads over."""

    name: str
    parameters: float
    engine_gpus: int


@dataclass(frozen=True)
class Assumptions:
    """None of it was measured by us: an H100 by its data sheet, a recipe like the paper's with N = 8."""

    flops_per_s: float = 989e12
    """Peak of an H100 SXM in bfloat16, dense."""
    bytes_per_s: float = 3.35e12
    """Peak bandwidth of its memory."""
    arithmetic_share: float = 0.35
    """Of the peak that training and prompts reach."""
    bandwidth_share: float = 0.5
    """Of the peak that decoding reaches, key-value blocks and scheduling counted in."""
    decoded_at_once: int = 128
    """Sequences that an engine decodes together."""
    rollouts: int = 8
    prompt_tokens: int = 1300
    """An image of about a thousand tokens, and the question; read once a group, thanks to the prefix cache."""
    rollout_tokens: int = 200
    forward_flops: float = 2.0
    """A forward pass, a parameter and token."""
    update_flops: float = 6.0
    """Forward pass, its repetition for the checkpointed activations, backward pass to the activations: the
    backbone is frozen, and its own gradients are not computed."""
    extra_forwards: float = 1.0
    """The reference's log-probabilities; the old ones come with the rollouts."""
    proposer_share: float = 1.2
    """Groups in all to groups of the Solver: one update in six is the Proposer's."""


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
    passes = assumed.update_flops + assumed.extra_forwards * assumed.forward_flops
    return assumed.proposer_share * (decode + prompt + trained * passes * parameters / arithmetic)


def table(replica_groups_per_s: float, busy: float, assumed: Assumptions) -> str:
    """Markdown: groups a second and replicas of one core, for each model and number of GPUs."""
    lines = ["| model | GPUs | GPU-seconds a group | groups/s | scorer cores |", "|---|---|---|---|---|"]
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
        "--replica-groups-per-s", type=float, help="that one core scores; by default what was measured"
    )
    parser.add_argument("--busy", type=float, default=0.6, help="share of their time that cores should work")
    options = parser.parse_args()
    speed = options.replica_groups_per_s or groups_per_s()
    print(table(speed, options.busy, Assumptions()))
    print(f"\n_One core: {speed:.1f} groups a second, of {steps_a_group():.0f} steps each._")


if __name__ == "__main__":
    main()
