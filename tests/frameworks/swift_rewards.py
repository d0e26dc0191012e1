"""Makes ms-swift compute rewards with our plugin, with and without prompt ids, and writes them.

python -m tests.frameworks.swift_rewards FILE
"""

import json
import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from swift.rewards import orms
from swift.rl_core.advantage import compute_advantages
from swift.rl_core.data import GRPOSample
from swift.rl_core.grpo_algorithm import compute_rewards_per_func

from tests.frameworks.rollouts import GROUP_SIZE, GROUPS, Dialect, in_each_dialect


def rewards(dialect: Dialect, with_ids: bool) -> list[float | None]:
    """The rewards of all samples, with the first prompt twice in the batch; None for NaN."""
    groups = [*dialect.groups.items(), next(iter(dialect.groups.items()))]
    samples = [
        GRPOSample(
            messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": text}],
            prompt_id=f"prompt_{prompt}" if with_ids else "",
        )
        for prompt, texts in groups
        for text in texts
    ]
    return scored(samples, num_generations=GROUP_SIZE)


def scored(samples: list[GRPOSample], **arguments: int) -> list[float | None]:
    """The rewards that ms-swift computes for one rank's rows, given a trainer's arguments."""
    function = orms["agreement"](SimpleNamespace(**arguments))
    state = SimpleNamespace(global_step=1, max_steps=2)
    table = compute_rewards_per_func(samples, [function], None, torch.device("cpu"), trainer_state=state)
    return [None if value.isnan() else float(value) for value in table[:, 0]]


def unjudged() -> list[list[float | None]]:
    """Rewards and advantages of a group that cannot be judged, and of one with such a rollout."""
    texts = next(iter(GROUPS.values()))
    one = next(text for text in texts if "nowhere" in text)
    samples = [
        GRPOSample(messages=[{"role": "assistant", "content": text}], prompt_id=prompt)
        for prompt, group in (("none", [one] * len(texts)), ("all but one", texts))
        for text in group
    ]
    rewards = scored(samples, num_generations=len(texts))
    table = torch.tensor([[float("nan") if each is None else each] for each in rewards])
    advantages, _ = compute_advantages(table, torch.ones(1), len(texts))
    return [rewards, advantages.tolist()]


def refusals() -> list[str]:
    """The errors for ranks whose rows are not whole groups, in training and in evaluation."""
    training = {"num_generations": 4, "per_device_train_batch_size": 2, "steps_per_generation": 3}
    messages = []
    for keys, arguments in (
        ("aaaabb", training),
        ("aabbbb", training),
        ("aabbcc", {**training, "num_generations_eval": 2}),
        ("aaaaaa", {**training, "num_generations_eval": 3}),
        ("aab", {**training, "num_generations_eval": 2}),
        ("aa", {"num_generations": 4}),
        ("aabbbb", {"num_generations": 2, "num_generations_eval": 4, "per_device_eval_batch_size": 6}),
    ):
        rows = [GRPOSample(messages=[{"role": "assistant", "content": key}], prompt_id=key) for key in keys]
        try:
            scored(rows, **arguments)
        except ValueError as error:
            messages.append(str(error))
        else:
            messages.append(f"{keys} was scored with {arguments}")
    return messages


def evaluation() -> list[float | None]:
    """The rewards of an evaluation with groups of a third of the training's size, in as many rows."""
    rows = [
        GRPOSample(messages=[{"role": "assistant", "content": text}], prompt_id=f"prompt_{number // 2}")
        for number, text in enumerate(next(iter(GROUPS.values())))
    ]
    training = {"num_generations": GROUP_SIZE, "per_device_train_batch_size": GROUP_SIZE}
    sizes = {"num_generations_eval": 2, "per_device_eval_batch_size": GROUP_SIZE, "steps_per_generation": 1}
    return scored(rows, **training, **sizes)


def both(dialect: Dialect) -> list[list[float | None]]:
    """With and without prompt ids."""
    return [rewards(dialect, with_ids) for with_ids in (True, False)]


if __name__ == "__main__":
    runpy.run_path(
        str(Path(__file__).resolve().parents[2] / "clients" / "ireasoner" / "clients" / "swift_reward.py")
    )  # --external_plugins
    done = {**in_each_dialect(both), "refusals": refusals()}
    os.environ["IREASONER_REWARD_CONFIG"] = "paper"
    done["evaluation"] = evaluation()
    done["unjudged"] = unjudged()
    Path(sys.argv[1]).write_text(json.dumps(done))
