"""Runs for the processes of a launcher: `torchrun --nproc-per-node 2 -m tests.trainer.launched DIR RUN...`.

With `python -m` they are the same runs in one process. The servers are fakes; TRL, peft and gloo are real.
A RUN is
    whole               a run to its end
    views               a run to its end, whose groups have four views
    failing             one whose rollout server becomes unreachable
    long                a longer one with dropout, whose masks come from each process's own random state
    long:RANKS@UPDATES  one in which these processes end by SIGKILL after UPDATES updates, in the middle of the next
    long:RANKS!UPDATES  the same, but each of them runs out of memory
    long:RANKS~UPDATES  the same, but each of them gets a SIGTERM
A folder that holds a long run is resumed.
"""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

import ireasoner.trainer  # noqa: F401  before peft: it makes torchvision importable
from ireasoner.trainer.errors import RolloutServerError
from tests.trainer.offline import OfflineRollouts, Strike, answers, offline_settings, offline_trainer

# Rows with a signal are uneven: six for the first process, four for the second, whose first group has none.
GROUPS = ((1, 2, 4, 9), (3, 3, 5, 5), (7, 7, 7, 7), (2, 9, 9, 9))
FIELDS: dict[str, Any] = {
    "updates": 4,
    "proposer_every": 1,
    "groups_per_update": 4,
    "micro_batch_size": 4,
    "save_every": 2,
    "grpo": {"learning_rate": 3e-3, "report_to": "none", "loss_type": "grpo"},
}
VIEWS = {"names": ("plain", "mirror", "jpeg", "ireasoner.trainer.worlds.digit_grids.views:row_permuted")}
LONG_FIELDS: dict[str, Any] = {**FIELDS, "updates": 6, "lora": {"dropout": 0.1}}


def say(policy: str, request: int, member: int) -> str:
    """Answers whose rewards differ, and questions whose answers do."""
    if "proposer" in policy:
        return f"<question>What is the sum of row {1 + member % 3}?</question>"
    return answers(*(GROUPS * 4))(policy, request, member)


class Failing(OfflineRollouts):
    """A server that is unreachable when the second update is sampled."""

    def sample(self, policy: str, *arguments: Any) -> Any:
        if policy.endswith("solver-000001"):
            raise RolloutServerError("gone")
        return super().sample(policy, *arguments)


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


BLOWS: dict[str, Callable[[], None]] = {
    "@": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "!": out_of_memory,
    "~": lambda: os.kill(os.getpid(), signal.SIGTERM),
}


def run(folder: Path, name: str) -> None:
    """One process of a run; an error is written to `rankN.error`."""
    kind, _, struck = name.partition(":")
    folder.mkdir(parents=True, exist_ok=True)
    rank = os.environ.get("RANK", "0")
    callbacks = []
    if struck:
        ranks, blow, updates = re.split("([@!~])", struck)
        callbacks = [Strike(int(updates), BLOWS[blow])] if rank in ranks.split(",") else []
    fields = {"long": LONG_FIELDS, "views": {**FIELDS, "views": VIEWS}}.get(kind, FIELDS)
    settings = offline_settings(folder, **fields, resume=(folder / "run" / "metrics.jsonl").exists())
    rollouts = Failing(say) if kind == "failing" else OfflineRollouts(say)
    try:
        trainer = offline_trainer(settings, rollouts, callbacks)
        trainer.go()
    except RolloutServerError as error:
        (folder / f"rank{rank}.error").write_text(str(error))
        return
    trainer.write_final()
    weights = {name: value for name, value in trainer.model.state_dict().items() if "lora_" in name}
    torch.save({"weights": weights, "calls": len(rollouts.calls)}, folder / f"rank{rank}.pt")
    PartialState().wait_for_everyone()


if __name__ == "__main__":
    for each in sys.argv[2:]:
        run(Path(sys.argv[1]) / each.partition(":")[0], each)
