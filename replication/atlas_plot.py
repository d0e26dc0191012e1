"""The plot of the atlas: each method's gain on each world, as a share of what true answers gain."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from replication.plots import save

Shares = Mapping[str, Mapping[str, Sequence[float]]]
"""For each world the shares of each method, one per seed."""


def draw_atlas(shares: Shares, file: Path) -> None:
    """Writes one panel per world: a dot for each seed, a circle for their mean, and lines at 0 and at true answers."""
    names = list(dict.fromkeys(name for of_world in shares.values() for name in of_world))
    figure = Figure(figsize=(2.2 + 2.2 * len(shares), 0.9 + 0.26 * len(names)), layout="constrained")
    [panels] = figure.subplots(1, len(shares), sharey=True, squeeze=False)
    for axes, (world, of_world) in zip(panels, shares.items(), strict=True):
        axes.axvline(0.0, color="0.6", linewidth=0.8)
        axes.axvline(1.0, color="0.6", linewidth=0.8, linestyle=":")
        for height, name in enumerate(names):
            if of_seeds := of_world.get(name):
                axes.plot(of_seeds, [height] * len(of_seeds), ".", color="0.6", markersize=4)
                axes.plot(sum(of_seeds) / len(of_seeds), height, "o", color="C0", markerfacecolor="none")
        axes.set_title(world, fontsize="small")
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.tick_params(labelsize="x-small")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("gain over the base model, as a share of what true answers gain", fontsize="small")
    save(figure, file)
