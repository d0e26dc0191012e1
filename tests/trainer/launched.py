"""Runs for the processes of a launcher: `torchrun --nproc-per-node 2 -m tests.trainer.launched DIR RUN...`.

With `python -m` they are the same runs in one process. The servers are fakes; TRL, peft and gloo are real.
A RUN is
    whole               a run to its end
    views               a run to its end, whose groups have four views
    sparse              a run to its end, in which one group alone has a learning signal: one micro-batch of two
    canary              a run to its end, whose canary checks every version
    short               the same, of one update of each role
    checkpointed        the same, with gradient checkpointing, as on a GPU
    stale               the same, of a server that serves the first version for ever
    failing             one whose rollout server becomes unreachable
    long                a longer one with dropout, whose masks come from each process's own random state
    long:RANKS@UPDATES  one in which these processes end by SIGKILL after UPDATES updates, in the middle of the next
    long:RANKS!UPDATES  the same, but each of them runs out of memory
    long:RANKS~UPDATES  the same, but each of them gets a SIGTERM
A folder that holds a long run is resumed. With ACCELERATE_USE_FSDP=true, the backbone is sharded over the processes.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

import ireasoner.trainer  # noqa: F401  before peft: it makes torchvision importable
from ireasoner.trainer.adapters.sharded_backbone import held_bytes
from ireasoner.trainer.errors import CanaryError, RolloutServerError
from ireasoner.trainer.loop.launcher import take_sharding
from ireasoner.trainer.rollouts.rollout import Rollout
from tests.trainer.offline import OfflineRollouts, Script, Strike, answers, offline_settings, offline_trainer

# Rows with a signal are uneven: six for the first process, four for the second, whose first group has none.
GROUPS = ((1, 2, 4, 9), (3, 3, 5, 5), (7, 7, 7, 7), (2, 9, 9, 9))
FIELDS: dict[str, Any] = {
    "updates": 4,
    "proposer_every": 1,
    "groups_per_update": 4,
    "micro_batch_size": 4,
    "save_every": 2,
    # With Adam's own epsilon of 1e-8, a gradient that is only rounding moves a weight as far as a large one.
    "grpo": {"learning_rate": 3e-3, "adam_epsilon": 1e-5, "report_to": "none", "loss_type": "grpo"},
}
VIEWS = {"names": ("plain", "mirror", "jpeg", "ireasoner.trainer.worlds.digit_grids.views:row_permuted")}
SPARSE = ((1, 2, 4, 9), (3, 3, 3, 3), (7, 7, 7, 7), (2, 2, 2, 2))
CANARY: dict[str, Any] = {"canary_every": 1, "canary_tolerance": 1e-3}
LONG_FIELDS: dict[str, Any] = {**FIELDS, "updates": 6, "lora": {"dropout": 0.1}}


def saying(groups: Sequence[Sequence[int]]) -> Script:
    """Answers whose rewards differ, and questions whose answers do."""

    def say(policy: str, request: int, member: int) -> str:
        if "proposer" in policy:
            return f"<question>What is the sum of row {1 + member % 3}?</question>"
        return answers(*(tuple(groups) * 4))(policy, request, member)

    return say


class Failing(OfflineRollouts):
    """A server that is unreachable when the second update is sampled."""

    def sample(self, policy: str, *arguments: Any) -> Any:
        if policy.endswith("solver-000001"):
            raise RolloutServerError("gone")
        return super().sample(policy, *arguments)


class Greedy(OfflineRollouts):
    """A server that completes the canary's prompt by its own policy."""

    def engines(self) -> int:
        return 1

    def sample(self, policy: str, requests: Any, contract: Any, engine: int | None = None) -> Any:
        if contract.temperature > 0:
            return super().sample(policy, requests, contract)
        assert self._policy is not None
        self._policy.set_adapter(self.serving(policy))
        [request] = requests
        inputs = self.inputs(request)
        output = self._policy.generate(
            **inputs,
            max_new_tokens=contract.max_tokens,
            do_sample=False,
            suppress_tokens=list(contract.forbidden_token_ids),
            return_dict_in_generate=True,
            output_scores=True,
        )
        prompt = inputs["input_ids"][0].tolist()
        ids = output.sequences[0, len(prompt) :].tolist()
        logprobs = [float(s[0].log_softmax(-1)[i]) for s, i in zip(output.scores, ids, strict=True)]
        return [[Rollout("", tuple(ids), tuple(logprobs), tuple(prompt), "length", policy, 0)]]

    def serving(self, policy: str) -> str:
        return policy


class Stale(Greedy):
    """One that completes it by the first version for ever."""

    def unload_adapter(self, name: str) -> None:
        pass

    def serving(self, policy: str) -> str:
        assert self._policy is not None
        versions: list[str] = list(self._policy.peft_config)
        return next(name for name in versions if name.split("-")[-2] == policy.split("-")[-2])


SERVERS = {"failing": Failing, "canary": Greedy, "short": Greedy, "checkpointed": Greedy, "stale": Stale}


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


BLOWS: dict[str, Callable[[], None]] = {
    "@": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "!": out_of_memory,
    "~": lambda: os.kill(os.getpid(), signal.SIGTERM),
}


def run(folder: Path, name: str, *, sharded: bool) -> None:
    """One process of a run; an error is written to `rankN.error`."""
    kind, _, struck = name.partition(":")
    folder.mkdir(parents=True, exist_ok=True)
    rank = os.environ.get("RANK", "0")
    callbacks = []
    if struck:
        ranks, blow, updates = re.split("([@!~])", struck)
        callbacks = [Strike(int(updates), BLOWS[blow])] if rank in ranks.split(",") else []
    checked = {**FIELDS, "rollout": CANARY}
    short = {**checked, "updates": 2, "groups_per_update": 2}
    fields = {
        "long": LONG_FIELDS,
        "views": {**FIELDS, "views": VIEWS},
        "canary": checked,
        "short": short,
        "checkpointed": {**short, "grpo": {**FIELDS["grpo"], "gradient_checkpointing": True}},
        "stale": checked,
    }.get(kind, FIELDS)
    settings = offline_settings(folder, **fields, resume=(folder / "run" / "metrics.jsonl").exists())
    rollouts = SERVERS.get(kind, OfflineRollouts)(saying(SPARSE if kind == "sparse" else GROUPS))
    try:
        trainer = offline_trainer(settings, rollouts, callbacks, sharded=sharded)
        trainer.go()
    except (RolloutServerError, CanaryError) as error:
        (folder / f"rank{rank}.error").write_text(str(error))
        return
    trainer.write_final()
    weights = {name: value for name, value in trainer.model.state_dict().items() if "lora_" in name}
    held = held_bytes(trainer.model.get_base_model())
    torch.save({"weights": weights, "calls": len(rollouts.calls), "held": held}, folder / f"rank{rank}.pt")
    PartialState().wait_for_everyone()


if __name__ == "__main__":
    shards = take_sharding()
    for each in sys.argv[2:]:
        run(Path(sys.argv[1]) / each.partition(":")[0], each, sharded=shards)
