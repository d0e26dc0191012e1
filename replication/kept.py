"""The results of complete runs beside the table, so that another machine goes on with the runs that are missing.

A folder of runs holds gigabytes of checkpoints and stays on its machine; `--out`/runs/ARM-SEED.json.gz holds what the
table needs of a run, and is committed.
"""

import gzip
import json
from typing import Any

from replication.settings import Plan


def read_kept(arm: str, seed: int, plan: Plan) -> dict[str, Any] | None:
    """The kept result of a run, whatever its recipe; None if there is none."""
    file = plan.kept_file(arm, seed)
    if not file.exists():
        return None
    result: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return result


def keep(result: dict[str, Any], plan: Plan) -> None:
    """Keeps the result of a complete run, whole or not at all; equal results give equal files."""
    arm, seed = result["arm"], result["seed"]
    if read_kept(arm, seed, plan) == result:
        return
    file = plan.kept_file(arm, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(gzip.compress(json.dumps(result).encode(), mtime=0))
    partial.replace(file)
