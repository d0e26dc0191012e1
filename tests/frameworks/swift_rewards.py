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

from tests.frameworks.rollouts import GROUPS


def rewards(with_ids: bool) -> list[float]:
    """The rewards of all samples, the first prompt standing in the batch twice."""
    groups = [*GROUPS.items(), next(iter(GROUPS.items()))]
    samples = [
        GRPOSample(
            messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": text}],
            prompt_id=f"prompt_{prompt}" if with_ids else "",
        )
        for prompt, texts in groups
        for text in texts
    ]
    function = orms["agreement"](SimpleNamespace(num_generations=5))
    state = SimpleNamespace(global_step=1, max_steps=2)
    table = compute_rewards_per_func(samples, [function], None, torch.device("cpu"), trainer_state=state)
    return [float(value) for value in table[:, 0]]


if __name__ == "__main__":
    runpy.run_path(
        str(Path(__file__).resolve().parents[2] / "clients" / "swift_reward.py")
    )  # --external_plugins
    Path(sys.argv[1]).write_text(json.dumps([rewards(True), rewards(False)]))
