"""The command `python -m replication.atlas`: every method on every world, as a share of what true answers give.

A method is a preset of the reward server. A world is a task, whose tiny model is wrong in a known way. Complete runs
are kept and not run again, as those of the table.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict
from rich.console import Console

from ireasoner.reward_server.scoring_config import PRESETS
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.run_folder.lock import sole_writer
from ireasoner.trainer.tiny_model.task import TaskName
from replication.arms import ARMS, Arm
from replication.atlas_plot import draw_atlas
from replication.command import CommandSettings, run_command
from replication.cost import hours
from replication.generated_parts import filled_in
from replication.results import compared_metric, gain_of_truth
from replication.results_folder import write_results
from replication.scheduler import Job, missing_runs, run_missing
from replication.settings import Plan, ReplicationSettings
from replication.table import markdown_table

WORLDS: Mapping[TaskName, str] = {
    "sums": "errors of single steps, which spoil some paths to an answer",
    "one-path": "the same errors, shared by all paths",
    "confident": "steps that are nearly always wrong, beside others that are uncertain and mostly right",
    "remainders": "half of the steps are wrong, and many right answers are luck",
    "readings": "a cell is misread now and then, each time otherwise: right answers have wrong steps",
    "scenes": "nine kinds of question, some of one step",
}
"""Each world by its task, with how its base model is wrong."""

_ROW_PERMUTED = "ireasoner.trainer.worlds.digit_grids.views:row_permuted"
_VIEWS: Mapping[TaskName, tuple[str, ...]] = dict.fromkeys(
    ("sums", "one-path", "confident", "remainders"), ("plain", *[_ROW_PERMUTED] * 3)
)
"""The views of a world's questions; `readings` and `scenes` have none that keeps every answer."""

_VOTERS = "teacher"
"""Who judges under a preset that needs voters: the tiny models were never taught to write a paraphrase."""

_METHODS = tuple(name for name, preset in PRESETS.items() if not Needs.of(preset.model_dump()).judge)
"""All presets but those with a judge: the tiny models were never taught to judge, so their replies hold no scores."""

BOUNDS = (ARMS["base"], ARMS["true-answers"])
"""What every gain is a share of: from the base model to true answers."""

_NEW_PAGE = "# Atlas\n\n<!-- atlas: generated --><!-- atlas: end -->\n"

_FOLDER = Path(__file__).resolve().parent.parent / "docs" / "replication" / "atlas"


def methods_of(world: TaskName) -> tuple[Arm, ...]:
    """Every method as an arm of a world, with the trainer's settings that give it what it needs.

    A preset that needs views is left out where a world has none.
    """
    return tuple(arm for name in _METHODS if (arm := _arm(name, world)) is not None)


def _arm(preset: str, world: TaskName) -> Arm | None:
    needs = Needs.of(PRESETS[preset].model_dump())
    plain = Arm(preset, "method", f"the preset {preset}", preset=preset)
    if needs.voters:
        return replace(
            plain,
            name=f"{preset}-{_VOTERS}",
            meaning=f"{plain.meaning}, judged by a {_VOTERS}",
            trainer={"reward": {"voters": _VOTERS}},
        )
    if not needs.views:
        return plain
    return replace(plain, trainer={"views": {"names": _VIEWS[world]}}) if world in _VIEWS else None


class AtlasSettings(CommandSettings):
    """Train with each method on each world, and write docs/replication/atlas.

    Complete runs are kept and not run again: stop the command at any time, and start it again to continue.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.atlas")

    worlds: tuple[TaskName, ...] = tuple(WORLDS)
    """Worlds, separated by commas."""
    methods: tuple[str, ...] = _METHODS
    """Presets, separated by commas."""
    seeds: int = Field(3, ge=1)
    """Number of seeds per method, counted from 0. Below five, gains have no interval."""
    runs: Path = Path("runs/atlas")
    """Folder of the runs, with one subfolder per world."""
    out: Path = _FOLDER
    """Folder of the results, with one subfolder per world."""
    run: bool = True
    """Run what is missing. `--no-run` starts nothing and writes the results of the complete runs."""
    parallel: int = Field(2, ge=1)
    """Runs at a time; they share the two servers."""

    @field_validator("methods")
    @classmethod
    def _methods_are_known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for name in methods:
            if name not in PRESETS:
                raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}")
            if name not in _METHODS:
                raise ValueError(f"{name} needs a judge, and the tiny models were never taught to judge")
        return methods

    def arms(self, world: TaskName) -> Sequence[Arm]:
        """The bounds, and the methods to run on a world."""
        return (*BOUNDS, *(arm for arm in methods_of(world) if arm.preset in self.methods))

    def jobs(self, world: TaskName) -> list[Job]:
        """Every arm with every seed, seed by seed."""
        return [(arm, seed) for seed in range(self.seeds) for arm in self.arms(world)]

    def table(self, world: TaskName) -> ReplicationSettings:
        """The settings of a world's table."""
        return ReplicationSettings(
            task=world,
            runs=self.runs / world,
            out=self.out / world,
            seeds=self.seeds,
            parallel=self.parallel,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes the results; exits with 1 if a run failed."""
    run_command(
        "replication.atlas",
        AtlasSettings,
        lambda settings, console: min(chart(settings, console), 1),
        arguments,
        interrupted="interrupted; run the same command again to continue",
    )


def chart(settings: AtlasSettings, console: Console) -> int:
    """Runs what is missing, world by world, and writes the results; returns the number of failed runs.

    Raises:
        TrainerError: An error that the user can fix.
    """
    jobs = {world: settings.jobs(world) for world in settings.worlds}
    plans = {world: Plan.of(settings.table(world)) for world in settings.worlds}
    missing = {world: missing_runs(jobs[world], plan) for world, plan in plans.items()}
    count = sum(map(len, missing.values()))
    cost = hours(count, os.cpu_count() or 1, settings.parallel)
    console.print(
        f"atlas: {sum(map(len, jobs.values()))} runs, {count} missing: about {cost} hours", highlight=False
    )
    failed = 0
    for world, plan in plans.items():
        if missing[world] and settings.run:
            with sole_writer(settings.table(world).runs_folder):
                failed += run_missing(settings.table(world), plan, missing[world], console, time.monotonic())
        write_results(plan, jobs[world], settings.arms(world), label=f"Atlas: {world}")
    for file in write_pages(settings.out):
        console.print(f"results: {file}", highlight=False)
    return failed


def declared(world: TaskName) -> dict[str, Arm]:
    """The arms of a world by name: the bounds and every method."""
    return {arm.name: arm for arm in (*BOUNDS, *methods_of(world))}


def write_pages(folder: Path) -> list[Path]:
    """Writes atlas.md and atlas.svg from the results of the worlds in `folder`, if there are any; returns the files."""
    texts = pages(folder)
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    found = {world: _known(shares(document)) for world, document in _documents(folder).items()}
    drawn = {world: of_world for world, of_world in found.items() if of_world}
    if not drawn:
        return [*texts]
    plot = folder / "atlas.svg"
    draw_atlas(drawn, plot)
    return [*texts, plot]


def pages(folder: Path) -> dict[Path, str]:
    """The page atlas.md from the results of the worlds in `folder`, by its file; none without results.

    Of a page that is there, what is between the marks `<!-- atlas: generated -->` and `<!-- atlas: end -->` is written
    anew.
    """
    documents, file = _documents(folder), folder / "atlas.md"
    if not documents:
        return {}
    text = file.read_text(encoding="utf-8") if file.exists() else _NEW_PAGE
    return {file: filled_in(text, {"atlas": page(documents)})}


def _documents(folder: Path) -> dict[str, Any]:
    """The results of each world in `folder`, in the order of `WORLDS`."""
    found = {file.parent.name: file for file in folder.glob("*/results.json")}
    return {world: json.loads(found[world].read_text(encoding="utf-8")) for world in WORLDS if world in found}


def _known(of_methods: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The shares that are numbers."""
    return {name: of_seeds for name, of_seeds in of_methods.items() if not any(map(math.isnan, of_seeds))}


def page(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Gains in accuracy by method and world, as a share of what true answers gain.

    Accuracy is greedy, and that of a sample on `readings`.
    """
    gains = {world: shares(document) for world, document in documents.items()}
    names = dict.fromkeys(name for of_world in gains.values() for name in of_world)
    body = [[f"`{name}`", *(_shown(of_world.get(name)) for of_world in gains.values())] for name in names]
    truth = []
    for world, document in documents.items():
        gain = gain_of_truth(document)
        truth.append(world if math.isnan(gain) else f"{world} ({gain:+.3f})")
    return markdown_table(["method", *truth], body)


def shares(document: Mapping[str, Any]) -> dict[str, list[float]]:
    """For each method, the gain of each seed over the base model, as a share of true answers' mean gain."""
    truth = gain_of_truth(document)
    return {
        arm["arm"]: [gain / truth for gain in arm["against"]["base"]["by_seed"][compared_metric(document)]]
        for arm in document["arms"]
        if "base" in arm["against"] and arm["arm"] != "true-answers"
    }


def _shown(of_seeds: Sequence[float] | None) -> str:
    if not of_seeds or math.isnan(of_seeds[0]):
        return ""
    return f"{sum(of_seeds) / len(of_seeds):.0%} ({', '.join(f'{share:.0%}' for share in sorted(of_seeds))})"


if __name__ == "__main__":
    main()
