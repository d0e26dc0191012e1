"""A plan of a table whose servers do not exist."""

from dataclasses import replace
from pathlib import Path

from ireasoner.trainer.tiny_model.task import TaskName
from replication.settings import Plan, ReplicationSettings


def plan(runs: Path, task: TaskName = "sums") -> Plan:
    """The plan of the committed config, with its runs in `runs`."""
    return replace(Plan.of(ReplicationSettings(task=task)), runs=runs, images=16, questions=8, samples=2)
