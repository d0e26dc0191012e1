"""The command `python -m replication.views_gate`: whether votes over views of a question are truer than plain votes.

The base model answers validation questions plainly and in the views of an arm, as often in total. Where the vote over
the views is not clearly truer, training on it has no headroom. This takes minutes; a study takes hours.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict
from rich.console import Console

from ireasoner.trainer.evaluation.questions import Question
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import read_toml
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.views import named_views
from ireasoner.trainer.views.gate import Gate, measure_gate
from ireasoner.trainer.worlds.world import Asked
from replication.command import CommandSettings, run_command
from replication.intervals import across_questions
from replication.provenance import provenance
from replication.results import GATE, passes
from replication.separation import VALIDATION_SEED
from replication.settings import ReplicationSettings
from replication.studies import TABLE_AND_STUDIES


class ViewsGateSettings(CommandSettings):
    """Measure what votes over an arm's views gain on the base model, and write views_gate.json."""

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.views_gate")

    arm: str = "views-cross"
    """The arm whose views are measured."""
    task: TaskName = "one-path"
    """The task; each has its own tiny model."""
    model: Path | None = None
    """The base model (default: the task's own in models/)."""
    questions: int = Field(400, ge=2)
    """Number of validation questions."""
    samples: int = Field(8, ge=2)
    """Rollouts per question, plainly and over the views; a multiple of the number of views."""
    out: Path | None = None
    """Folder of the result (default: as for the task's table)."""

    @field_validator("arm")
    @classmethod
    def _has_views(cls, arm: str) -> str:
        if arm not in _WITH_VIEWS:
            raise ValueError(f"{arm!r} is no arm with views; these are {', '.join(_WITH_VIEWS)}")
        return arm


_WITH_VIEWS = tuple(name for name, arm in TABLE_AND_STUDIES.items() if "views" in arm.trainer)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; exits with 1 if a server fails."""
    run_command("replication.views_gate", ViewsGateSettings, measure, arguments)


def measure(settings: ViewsGateSettings, console: Console) -> int:
    """Measures, writes views_gate.json and prints what it says.

    Raises:
        TrainerError: An error that the user can fix.
    """
    from ireasoner.trainer.adapters.backbone import forbidden_for
    from replication.servers import servers

    table = ReplicationSettings(**settings.model_dump(include={"task", "model"}, exclude_none=True))
    config = read_toml(table.config)
    names = TABLE_AND_STUDIES[settings.arm].trainer["views"]["names"]
    asked = TASKS[settings.task].world.evaluation_questions(
        settings.questions, VALIDATION_SEED, held_out=False
    )
    with servers(
        table.model_folder,
        table.runs_folder / "logs",
        max_lora_rank=config["lora"]["r"],
        parallel=1,
        console=console,
    ) as (_, rollout_url, _):
        client = RolloutClient(rollout_url)
        found = measure_gate(
            client,
            client.models()[0],
            _written(asked, table.runs_folder / "inputs" / f"validation-{settings.task}"),
            named_views(names),
            samples=settings.samples,
            max_tokens=config["rollout"]["solver_max_tokens"],
            forbidden_token_ids=forbidden_for(str(table.model_folder)),
            seed=VALIDATION_SEED,
        )
        client.close()
    measured = {
        "task": settings.task,
        "model": table.model_folder.name,
        "arm": settings.arm,
        "views": names,
        "questions": settings.questions,
        "samples": settings.samples,
        **provenance(),
        **gate(found, asked),
    }
    out = settings.out or table.out_folder
    out.mkdir(parents=True, exist_ok=True)
    (out / "views_gate.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    console.print(verdict(measured), highlight=False, soft_wrap=True)
    console.print(f"result: {out / 'views_gate.json'}", highlight=False)
    return 0


def gate(found: Gate, asked: Sequence[Asked]) -> dict[str, Any]:
    """maj@N over the views minus maj@N of the plain question, paired, and whether the low end of it reaches `GATE`.

    Questions that add up the same numbers are drawn together: they have the same number in `clusters`. `plain_hits`
    and `pooled_hits` are the accuracies of the vote on each question, so that the intervals can be computed again.
    """
    same = [one.numbers or index for index, one in enumerate(asked)]
    number: dict[Any, int] = {}
    clusters = [number.setdefault(each, len(number)) for each in same]
    plain, pooled = found.plain_hits, found.pooled_hits
    gain = across_questions([[after - before for before, after in zip(plain, pooled, strict=True)]], clusters)
    return {
        "least": GATE,
        "plain_majority": across_questions([plain], clusters).as_dict(),
        "pooled_majority": across_questions([pooled], clusters).as_dict(),
        "pooled_less_plain": gain.as_dict(),
        "replaced_share": round(found.replaced_share, 4),
        "passed": passes(gain.low),
        "clusters": clusters,
        "plain_hits": [round(hit, 4) for hit in plain],
        "pooled_hits": [round(hit, 4) for hit in pooled],
    }


def verdict(measured: dict[str, Any]) -> str:
    """What the gate says, in one sentence."""
    gain = measured["pooled_less_plain"]
    figure = f"{gain['mean']:+.3f} [{gain['low']:.3f}, {gain['high']:.3f}]"
    of = f"maj@{measured['samples']} over the views of {measured['arm']} minus plain: {figure}"
    if measured["passed"]:
        return f"{of}; the low end is at least {GATE:.2f}: there is headroom on {measured['task']}"
    return f"{of}; the low end is below {GATE:.2f}: there is no headroom on {measured['task']}"


def _written(asked: Sequence[Asked], folder: Path) -> list[Question]:
    """The questions, with their images as files."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = []
    for number, one in enumerate(asked):
        file = folder / f"{number:05d}.png"
        one.image.save(file)
        questions.append(replace(one.labelled, image=file))
    return questions


if __name__ == "__main__":
    main()
