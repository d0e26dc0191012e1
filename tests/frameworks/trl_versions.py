"""What a release of TRL makes of our reward functions: its own `_calculate_rewards`, on the groups of all tests.

    python -m tests.frameworks.trl_versions URL FILE

The release is the one that is imported. Nothing is trained.
"""

import asyncio
import json
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from trl import GRPOTrainer, RLOOTrainer

from ireasoner.clients.trl_reward import AsyncGroupReward, GroupReward
from tests.frameworks.rollouts import GROUPS

HAS_ASYNC = (1, 14)


def called(kind: Any, reward_funcs: list[Any], groups: dict[str, list[str]]) -> dict[str, Any]:
    """The rewards of one batch, one column per function, and what was logged."""
    charts: dict[str, list[float]] = defaultdict(list)
    table: dict[str, list[Any]] = defaultdict(list)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    trainer = SimpleNamespace(
        accelerator=Accelerator(cpu=True),
        args=SimpleNamespace(report_to=[]),
        state=SimpleNamespace(global_step=5, max_steps=10),
        reward_funcs=reward_funcs,
        reward_func_names=[each.__name__ for each in reward_funcs],
        reward_processing_classes=[None] * len(reward_funcs),
        environments=None,
        async_reward_loop=loop,
        async_loop=loop,
        _log_completion_extra=lambda column, values: table[column].extend(values),
        _log_metric=lambda name, value: charts[name].append(value),
    )
    prompts = [[{"role": "user", "content": prompt}] for prompt, texts in groups.items() for _ in texts]
    completions = [[{"role": "assistant", "content": text}] for texts in groups.values() for text in texts]
    inputs = [{"prompt": prompt, "solution": "7"} for prompt in prompts]
    rewards = kind._calculate_rewards(trainer, inputs, prompts, completions, [[1]] * len(prompts))
    loop.call_soon_threadsafe(loop.stop)
    return {"rewards": rewards.tolist(), "charts": charts, "table": table}


def main(url: str, file: str) -> None:
    """Every kind of reward function with both trainers."""
    import trl

    torch.set_num_threads(1)
    version = tuple(int(part) for part in trl.__version__.split(".")[:2])
    functions: dict[str, Any] = {"sync": [GroupReward(6, url)], "parts": GroupReward(6, url).components()}
    if version >= HAS_ASYNC:
        functions["async"] = [AsyncGroupReward(6, url)]
        functions["async parts"] = AsyncGroupReward(6, url).components()
    done = {
        f"{kind.__name__} {name}": called(kind, each, GROUPS)
        for kind in (GRPOTrainer, RLOOTrainer)
        for name, each in functions.items()
    }
    Path(file).write_text(json.dumps({"version": trl.__version__, "done": done}))


if __name__ == "__main__":
    main(*sys.argv[1:])
