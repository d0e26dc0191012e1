"""A plan of a table, with servers that are not there."""

from pathlib import Path

from ireasoner.trainer.tiny_model.task import TaskName
from replication.settings import Plan, ReplicationSettings


def plan(runs: Path, task: TaskName = "sums") -> Plan:
    """The plan of the committed config, with its runs in `runs`."""
    settings = ReplicationSettings(task=task)
    return Plan(
        task=settings.task,
        runs=runs,
        config=settings.config,
        model=settings.model_folder,
        images=16,
        questions=8,
        samples=2,
        reward_url="http://127.0.0.1:1",
        rollout_url="http://127.0.0.1:1",
    )
