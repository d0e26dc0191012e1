"""Has ms-swift compute rewards with our plugin, and writes them: with prompt ids and without.

python -m tests.frameworks.swift_rewards FILE
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from swift.rewards import orms
from swift.rl_core.data import GRPOSample
from swift.rl_core.grpo_algorithm import compute_rewards_per_func

from tests.frameworks.rollouts import GROUP_SIZE, Dialect, in_each_dialect


def rewards(dialect: Dialect, with_ids: bool) -> list[float | None]:
    """The rewards of all samples, the first prompt standing in the batch twice; None for NaN."""
    groups = [*dialect.groups.items(), next(iter(dialect.groups.items()))]
    samples = [
        GRPOSample(
            messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": text}],
            prompt_id=f"prompt_{prompt}" if with_ids else "",
        )
        for prompt, texts in groups
        for text in texts
    ]
    function = orms["agreement"](SimpleNamespace(num_generations=GROUP_SIZE))
    state = SimpleNamespace(global_step=1, max_steps=2)
    table = compute_rewards_per_func(samples, [function], None, torch.device("cpu"), trainer_state=state)
    return [None if value.isnan() else float(value) for value in table[:, 0]]


def both(dialect: Dialect) -> list[list[float | None]]:
    """With prompt ids and without."""
    return [rewards(dialect, with_ids) for with_ids in (True, False)]


if __name__ == "__main__":
    runpy.run_path(
        str(Path(__file__).resolve().parents[2] / "clients" / "swift_reward.py")
    )  # --external_plugins
    Path(sys.argv[1]).write_text(json.dumps(in_each_dialect(both)))
