"""The folder of a table: results.json, values.json, table.md and the plots, written from the runs that are complete."""

import json
from collections.abc import Sequence

from ireasoner.trainer.settings import read_toml
from replication.arms import Arm
from replication.evaluation import splits
from replication.plots import draw
from replication.results import clusters_of, results
from replication.run import complete_runs
from replication.scheduler import Job
from replication.settings import Plan
from replication.table import tables
from replication.values import VALUES, as_text, packed


def write_results(plan: Plan, wanted: Sequence[Job], arms: Sequence[Arm], *, label: str) -> bool:
    """Writes the files of a table into the plan's `out`, and keeps its complete runs; False if there are none.

    Args:
        plan: What the runs share.
        wanted: The runs of the table.
        arms: Its arms, in their order.
        label: Its title.
    """
    runs = complete_runs(wanted, plan)
    if not runs:
        return False
    shared = {
        "task": plan.task,
        "model": plan.model.name,
        "questions": plan.questions,
        "samples": plan.samples,
        "test_seed": plan.test_seed,
        "images": plan.images,
        "embedder": "token-mean",
        "config": read_toml(plan.config),
    }
    clusters = clusters_of(splits(plan))
    document = results(runs, arms, clusters, label=label, shared=shared)
    plan.out.mkdir(parents=True, exist_ok=True)
    (plan.out / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (plan.out / VALUES).write_text(as_text(packed(runs, clusters)), encoding="utf-8")
    (plan.out / "table.md").write_text(tables(document), encoding="utf-8")
    draw(document, plan.out)
    return True
