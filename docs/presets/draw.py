"""Draws the pictures of presets.md with the scores of a running reward server (with its default embedder).

From the root of the repository: `python -m docs.presets.draw [--url URL] [--into FOLDER]`.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from ireasoner.clients import Endpoint, Group, RewardClient, Rollout, ScoredGroup, ScoredRollout, ScoreResponse
from ireasoner.clients.codec import decode_group

HERE = Path(__file__).parent
SWITCHES: list[tuple[str, dict[str, Any]]] = [
    ("paper", {}),
    ("leave one out", {"step_means": "leave_one_out"}),
    ("centred", {"centring": "group"}),
    ("floor at 0", {"cosine_floor": 0.0}),
    ("aligned", {"alignment": "monotonic"}),
    ("coverage,\nmin. steps", {"coverage": "union", "min_steps": 3}),
]
COLOURS = ["#1b6ca8", "#d1495b", "#edae49", "#3c8d5a"]


def read(name: str) -> list[Group]:
    """The groups of a file of JSON lines beside this one."""
    return [decode_group(json.loads(line)) for line in (HERE / name).read_text().splitlines()]


def majority(group: ScoredGroup) -> list[ScoredRollout]:
    """The rollouts that gave the dominant answer."""
    return [rollout for rollout in group.rollouts if rollout.answer == group.dominant_answer]


def ladder(client: RewardClient) -> plt.Figure:
    """The step reward of each majority rollout as one switch after the other is turned."""
    groups = read("groups.jsonl")
    figure, axes = plt.subplots(1, len(groups), figsize=(12, 3.4), sharey=True)
    config: dict[str, Any] = {"gamma": 0.0}
    scored: list[ScoreResponse] = []
    for _, switch in SWITCHES:
        config |= switch
        scored.append(client.score("trajectory", groups, config=dict(config)))
    for number, (axis, group) in enumerate(zip(axes, groups, strict=True)):
        lines = [[rollout.trajectory for rollout in majority(each.groups[number])] for each in scored]
        for member, line in enumerate(zip(*lines, strict=True)):
            axis.plot(
                range(len(line)), line, "o-", ms=3.5, lw=1.4, color=COLOURS[member], label=f"rollout {member}"
            )
        axis.set_title(group.id, fontsize=10)
        axis.set_xticks(
            range(len(SWITCHES)), [name for name, _ in SWITCHES], rotation=55, ha="right", fontsize=8
        )
        axis.set_ylim(-0.03, 1.03)
        axis.grid(axis="y", lw=0.3)
    axes[0].set_ylabel("step reward (density left out)")
    axes[0].legend(fontsize=7, frameon=False, loc="lower left")
    return figure


def places(client: RewardClient) -> plt.Figure:
    """Which step is compared with which, by index and aligned, for the group with an extra first step."""
    group = read("groups.jsonl")[0]
    figure, axes = plt.subplots(1, 2, figsize=(13, 3), sharey=True)
    base = {"step_means": "leave_one_out", "centring": "group"}
    for axis, (title, switch) in zip(
        axes, [("by index", {}), ("aligned", {"alignment": "monotonic", "cosine_floor": 0.0})], strict=True
    ):
        scored = client.score("trajectory", [group], config={**base, **switch}).groups[0]
        for row, rollout in enumerate(majority(scored)):
            for index, step in enumerate(rollout.steps):
                place = index if step.place is None and not switch else step.place
                x = -1 if step.cosine is None else place
                shade = 0.0 if step.cosine is None else max(0.0, step.cosine)
                axis.add_patch(
                    plt.Rectangle((x - 0.48, row - 0.45), 0.96, 0.9, color=plt.cm.Blues(shade * 0.8))
                )
                shown = "no place" if step.cosine is None else f"{step.cosine:.2f}"
                axis.text(
                    x,
                    row - 0.12,
                    step.text[:24] + ("…" if len(step.text) > 24 else ""),
                    ha="center",
                    fontsize=6.5,
                )
                axis.text(x, row + 0.25, shown, ha="center", fontsize=7.5)
        axis.set_xlim(-1.6, 2.6)
        axis.set_ylim(3.6, -0.6)
        axis.set_xticks([-1, 0, 1, 2], ["none", "place 0", "place 1", "place 2"], fontsize=8)
        axis.set_yticks(range(4), [f"rollout {row}" for row in range(4)], fontsize=8)
        axis.set_title(f"{title}: step, and cosine to the others' mean", fontsize=9)
        axis.tick_params(length=0)
    return figure


def entropy(client: RewardClient) -> plt.Figure:
    """The Proposer's reward against H / ln N for groups of 5 and of 16, with both targets."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.7), sharey=True)
    for axis, (scale, title) in zip(
        axes, [("nats", "entropy_scale: nats"), ("ln_n", "entropy_scale: ln_n")], strict=True
    ):
        for size, colour in ((5, COLOURS[0]), (16, COLOURS[1])):
            groups = [
                Group(
                    str(number),
                    [Rollout(str(i), answer=str(max(i - number, 0)), steps=[]) for i in range(size)],
                )
                for number in range(size)
            ]
            scored = client.score("proposer", groups, config={"entropy_scale": scale}).groups
            points = sorted((g.entropy_nats or 0.0, g.proposer_reward or 0.0) for g in scored)
            axis.plot(
                [h / math.log(size) for h, _ in points],
                [r for _, r in points],
                "o-",
                ms=3.5,
                lw=1.2,
                color=colour,
                label=f"N = {size}",
            )
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("H / ln N")
        axis.grid(lw=0.3)
    axes[0].set_ylabel("Proposer's reward")
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def ties(client: RewardClient) -> plt.Figure:
    """What the rollouts of two tied answers and of a third one get for their steps."""
    group = read("ties.jsonl")[0]
    return _by_rule(client, group, "trajectory", "ties", ("one", "shared"), "step reward")


def equivalence(client: RewardClient) -> plt.Figure:
    """How the answers of one group fall into clusters, by text and by value; they stand as they were written."""
    group = read("equivalence.jsonl")[0]
    written = [rollout.answer or "" for rollout in group.rollouts]
    return _by_rule(client, group, "outcome", "equivalence", ("text", "value"), "outcome reward", written)


def copies(client: RewardClient) -> plt.Figure:
    """The outcome reward of an answer in five copies, and of one in four ways, as distinctness counts more."""
    group = read("copies.jsonl")[0]
    exponents = [0.0, 0.25, 0.5, 0.75, 1.0]
    figure, axis = plt.subplots(figsize=(5.5, 2.7))
    scored = [
        client.score("outcome", [group], config={"distinct_exponent": exponent}).groups[0]
        for exponent in exponents
    ]
    for cluster, colour in zip(scored[0].clusters, COLOURS, strict=False):
        line = [
            next(rollout.reward for rollout in each.rollouts if rollout.answer == cluster.answer)
            for each in scored
        ]
        ways = len({tuple(each.steps or ()) for each in group.rollouts if each.answer == cluster.answer})
        told = f"“{cluster.answer}”: {cluster.count} rollouts, {ways} distinct"
        axis.plot(exponents, line, "o-", ms=3.5, lw=1.4, color=colour, label=told)
    axis.set_xticks(exponents)
    axis.set_xlabel("distinct_exponent")
    axis.set_ylabel("outcome reward")
    axis.set_ylim(0, 1)
    axis.grid(lw=0.3)
    axis.legend(fontsize=8, frameon=False)
    return figure


def _by_rule(
    client: RewardClient,
    group: Group,
    endpoint: Endpoint,
    switch: str,
    rules: tuple[str, str],
    measured: str,
    written: list[str] | None = None,
) -> plt.Figure:
    """The rewards of one group under two values of a switch, side by side."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.5), sharey=True)
    for axis, rule in zip(axes, rules, strict=True):
        scored = client.score(endpoint, [group], config={switch: rule}).groups[0]
        _bars(axis, scored, f"{switch}: {rule}", written)
    axes[0].set_ylabel(measured)
    return figure


def _bars(
    axis: plt.Axes, scored: ScoredGroup, title: str, written: list[str] | None = None
) -> None:
    """A bar for each rollout's reward, under its answer, in the colour of its cluster."""
    colours = {cluster.answer: COLOURS[place % 4] for place, cluster in enumerate(scored.clusters)}
    for place, rollout in enumerate(scored.rollouts):
        axis.bar(place, (rollout.reward or 0) + 0.004, 0.7, color=colours[rollout.answer or ""])
    shown = written or [rollout.answer or "" for rollout in scored.rollouts]
    axis.set_xticks(range(len(shown)), [each.replace("$", r"\$") for each in shown], fontsize=8)
    axis.set_title(title, fontsize=9)
    axis.set_ylim(0, 1)


PICTURES = {
    each.__name__: each for each in (ladder, places, entropy, ties, equivalence, copies)
}


def main() -> None:
    """Draws all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8010", help="the reward server [%(default)s]")
    parser.add_argument("--into", type=Path, default=HERE, help="folder for the pictures [%(default)s]")
    options = parser.parse_args()
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "presets", "font.family": "sans-serif"})
    with RewardClient(options.url) as client:
        for name, draw in PICTURES.items():
            figure = draw(client)
            figure.savefig(options.into / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)
            print(options.into / f"{name}.svg")


if __name__ == "__main__":
    main()
