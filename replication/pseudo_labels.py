"""The command `python -m replication.pseudo_labels`: how often an answer that dominates a group is true.

It looks at the groups that the Solver was rewarded for in the runs of a row, whose true answers are known, and tells by
how many rollouts gave the dominant answer, and what it would have been if copies of a trajectory had counted less
(`distinct_exponent`). That exponent is chosen with true answers at hand; no reward ever saw them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from rich.console import Console

from ireasoner.clients import Group as PostedGroup
from ireasoner.clients import RewardClient, Rollout, ScoredGroup
from ireasoner.trainer.commands.service import free_ports
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.tiny_model.task import TaskName
from replication.command import CommandSettings, run_command
from replication.intervals import interval
from replication.results import provenance
from replication.servers import REWARD_DEADLINE_S, reward_server
from replication.settings import ReplicationSettings
from replication.table import cell, markdown_table

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
_A_REQUEST = 500
"""Groups that are posted at a time."""


class PseudoLabelSettings(CommandSettings):
    """Tell how often dominant answers are true in a row's runs, and write pseudo_labels.json and pseudo_labels.md."""

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.pseudo_labels")

    task: TaskName = "sums"
    """What was asked."""
    row: str = "outcome-only"
    """Whose groups are looked at: all runs of this row that are complete."""
    runs: Path | None = None
    """Where runs are kept (default: as for the table)."""
    until: float = Field(1.0, gt=0, le=1)
    """Groups of so much of the schedule, from its start."""
    out: Path | None = None
    """Where results go (default: where the table of the task goes; if a row, runs or a part of the schedule is named,
    the folder results in that of the runs)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores and writes; exits with 1 where there are no runs, or the server could not do its part."""
    run_command("pseudo_labels", PseudoLabelSettings, tell, arguments)


def tell(settings: PseudoLabelSettings, console: Console) -> int:
    """Scores and writes.

    Raises:
        TrainerError: Something that the user can act on.
        RewardError: The reward server refused, or went away.
    """
    table = ReplicationSettings(task=settings.task, runs=settings.runs)
    runs = sorted(file.parent / "run" for file in (table.runs_folder / settings.row).glob("*/result.json"))
    groups = [group for run in runs for group in labelled_groups(run / "groups.jsonl", settings.until)]
    if not groups:
        raise SettingsError(f"{table.runs_folder / settings.row} has no complete run with labelled groups")
    server, url = reward_server(table.model_folder, table.runs_folder / "logs", *free_ports(1))
    with server, RewardClient(url) as client:
        server.wait_until_ready(REWARD_DEADLINE_S)
        by_exponent = [
            (exponent, dominant_is_true(groups, scored(groups, exponent, client))) for exponent in EXPONENTS
        ]
    document = {
        "task": settings.task,
        "row": settings.row,
        "runs": len(runs),
        "until": settings.until,
        **provenance(),
        "by_votes": by_votes(groups),
        "by_exponent": [
            {"distinct_exponent": exponent, **_share(right), "gain": _gain(right, by_exponent[0][1])}
            for exponent, right in by_exponent
        ],
    }
    is_whole = settings.model_fields_set <= {"task", "out"}
    out = settings.out or (table.out_folder if is_whole else table.runs_folder / "results")
    out.mkdir(parents=True, exist_ok=True)
    (out / "pseudo_labels.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "pseudo_labels.md").write_text(_markdown(document), encoding="utf-8")
    console.print(f"results: {out}", highlight=False)
    return 0


def labelled_groups(file: Path, until: float) -> list[dict[str, Any]]:
    """The Solver's groups of a `groups.jsonl` whose true answer is known and some rollout of which has an answer."""
    return [
        group
        for group in read_lines(file)
        if group["role"] == "solver"
        and group["progress"] <= until
        and "shadow" in group
        and group["dominant_answer"] is not None
    ]


def scored(
    groups: Sequence[Mapping[str, Any]], exponent: float, client: RewardClient
) -> Sequence[ScoredGroup]:
    """The groups as `outcome-only` with this exponent scores them."""
    posted = [
        PostedGroup(
            str(number), [Rollout(str(j), rollout["text"]) for j, rollout in enumerate(group["rollouts"])]
        )
        for number, group in enumerate(groups)
    ]
    config = {"preset": "paper", "distinct_exponent": exponent}
    return [
        group
        for first in range(0, len(posted), _A_REQUEST)
        for group in client.score("outcome", posted[first : first + _A_REQUEST], config=config).groups
    ]


def dominant_is_true(groups: Sequence[Mapping[str, Any]], scores: Sequence[ScoredGroup]) -> list[bool]:
    """Of each group whether a rollout with the dominant answer is right."""
    return [
        any(
            hit and rollout.answer == score.dominant_answer
            for hit, rollout in zip(group["shadow"]["right"], score.rollouts, strict=True)
        )
        for group, score in zip(groups, scores, strict=True)
    ]


def by_votes(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often the dominant answer is true, by how many rollouts gave it."""
    votes = [round(group["dominant_share"] * len(group["rollouts"])) for group in groups]
    right = [group["shadow"]["pseudo_label_right"] for group in groups]
    return [
        {"votes": count, **_share([hit for hit, of in zip(right, votes, strict=True) if of == count])}
        for count in sorted({*votes})
    ]


def _share(right: Sequence[bool]) -> dict[str, Any]:
    return {"groups": len(right), "true": interval(np.array([right])).as_dict()}


def _gain(right: Sequence[bool], at_first: Sequence[bool]) -> dict[str, float]:
    return interval(np.array([right], dtype=float) - np.array([at_first], dtype=float)).as_dict()


def _markdown(document: Mapping[str, Any]) -> str:
    votes = [[str(one["votes"]), str(one["groups"]), cell(one["true"])] for one in document["by_votes"]]
    exponents = [
        [f"{one['distinct_exponent']:g}", cell(one["true"]), cell(one["gain"], sign=True)]
        for one in document["by_exponent"]
    ]
    parts = [
        f"# How often a dominant answer is true: `{document['task']}`",
        f"Commit `{document['commit'][:12]}`. Groups of {document['runs']} runs of `{document['row']}`, up to "
        f"{document['until']:.0%} of the schedule; 95% intervals over "
        "groups as if each were of its own picture and question.",
        markdown_table(["rollouts with the dominant answer", "groups", "it is true"], votes),
        markdown_table(["distinct_exponent", "the dominant answer is true", "gain on 0, paired"], exponents),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
