"""The command `python -m replication.pseudo_labels`: how often a dominant answer is true.

It reads the Solver's groups with known true answers in the runs of an arm. It reports how often the dominant answer is
true, by the number of rollouts that gave it, and how often it would be true if copies of a trajectory counted less
(`distinct_exponent`). That exponent was chosen with known true answers; no reward ever used them.
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
from replication.provenance import provenance
from replication.servers import REWARD_DEADLINE_S, reward_server
from replication.settings import ReplicationSettings
from replication.table import cell, markdown_table

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
_GROUPS_PER_REQUEST = 500


class PseudoLabelSettings(CommandSettings):
    """Measure how often dominant answers are true in an arm's runs; write pseudo_labels.json and pseudo_labels.md."""

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.pseudo_labels")

    task: TaskName = "sums"
    """The task of the runs."""
    arm: str = "outcome-only"
    """The arm whose complete runs are read."""
    runs: Path | None = None
    """Folder of the runs (default: as for the table)."""
    until: float = Field(1.0, gt=0, le=1)
    """Read the groups up to this share of the schedule."""
    out: Path | None = None
    """Folder of the results (default: as for the task's table; if an arm, runs or a part of the schedule is given, the
    subfolder results of the runs)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores and writes; exits with 1 if there are no runs or the server fails."""
    run_command("replication.pseudo_labels", PseudoLabelSettings, measure, arguments)


def measure(settings: PseudoLabelSettings, console: Console) -> int:
    """Scores and writes.

    Raises:
        TrainerError: An error that the user can fix.
        RewardError: The reward server refused, or became unreachable.
    """
    table = ReplicationSettings(task=settings.task, runs=settings.runs)
    runs = sorted(file.parent / "run" for file in (table.runs_folder / settings.arm).glob("*/result.json"))
    groups = [group for run in runs for group in labelled_groups(run / "groups.jsonl", settings.until)]
    if not groups:
        raise SettingsError(f"{table.runs_folder / settings.arm} has no complete run with labelled groups")
    server = reward_server(table.model_folder, table.runs_folder / "logs", *free_ports(1))
    with server, RewardClient(server.url) as client:
        server.wait_until_ready(REWARD_DEADLINE_S)
        by_exponent = [
            (exponent, dominant_is_true(groups, scored(groups, exponent, client))) for exponent in EXPONENTS
        ]
    document = {
        "task": settings.task,
        "arm": settings.arm,
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
    (out / "pseudo_labels.md").write_text(markdown(document), encoding="utf-8")
    console.print(f"results: {out}", highlight=False)
    return 0


def labelled_groups(file: Path, until: float) -> list[dict[str, Any]]:
    """The Solver's groups of a `groups.jsonl` that have a known true answer and a dominant answer."""
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
    """The groups as scored by `outcome-only` with this exponent."""
    posted = [
        PostedGroup(
            str(number), [Rollout(str(j), rollout["text"]) for j, rollout in enumerate(group["rollouts"])]
        )
        for number, group in enumerate(groups)
    ]
    config = {"preset": "paper", "distinct_exponent": exponent}
    return [
        group
        for first in range(0, len(posted), _GROUPS_PER_REQUEST)
        for group in client.score(
            "outcome", posted[first : first + _GROUPS_PER_REQUEST], config=config
        ).groups
    ]


def dominant_is_true(groups: Sequence[Mapping[str, Any]], scores: Sequence[ScoredGroup]) -> list[bool]:
    """For each group, whether a rollout with the dominant answer is right."""
    return [
        any(
            hit and rollout.answer == score.dominant_answer
            for hit, rollout in zip(group["shadow"]["right"], score.rollouts, strict=True)
        )
        for group, score in zip(groups, scores, strict=True)
    ]


def by_votes(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often the dominant answer is true, by its number of rollouts; only groups in which it is the label."""
    groups = [group for group in groups if group["shadow"]["pseudo_label_right"] is not None]
    votes = [round(group["dominant_share"] * len(group["rollouts"])) for group in groups]
    right = [group["shadow"]["pseudo_label_right"] for group in groups]
    return [
        {"votes": count, **_share([hit for hit, of in zip(right, votes, strict=True) if of == count])}
        for count in sorted({*votes})
    ]


def _share(right: Sequence[bool]) -> dict[str, Any]:
    return {"groups": len(right), "true": interval(np.array([right])).as_dict()}


def _gain(right: Sequence[bool], at_first: Sequence[bool]) -> dict[str, float | None]:
    return interval(np.array([right], dtype=float) - np.array([at_first], dtype=float)).as_dict()


def markdown(document: Mapping[str, Any]) -> str:
    votes = [[str(one["votes"]), str(one["groups"]), cell(one["true"])] for one in document["by_votes"]]
    exponents = [
        [f"{one['distinct_exponent']:g}", cell(one["true"]), cell(one["gain"], sign=True)]
        for one in document["by_exponent"]
    ]
    parts = [
        f"# How often a dominant answer is true: `{document['task']}`",
        f"Commit `{document['commit'][:12]}`. Groups of {document['runs']} runs of `{document['arm']}`, up to "
        f"{document['until']:.0%} of the schedule. The 95% intervals are over "
        "groups, as if each had its own image and question.",
        markdown_table(["rollouts with the dominant answer", "groups", "share that is true"], votes),
        markdown_table(["distinct_exponent", "dominant answer true", "vs exponent 0, paired"], exponents),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
