"""The backbone of a run: whole in each process, or sharded over them."""

from typing import Any

import torch
from rich.console import Console

from ireasoner.trainer.adapters.backbone import load_backbone
from ireasoner.trainer.adapters.sharded_backbone import held_bytes, shard
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.rewards.needs import Needs


def policy_backbone(model: str, ranks: Ranks, console: Console, *, sharded: bool) -> Any:
    """The base model: whole and on the CPU, or if `sharded` this process's part of it on its device.

    Prints what each process holds. Raises as `load_config` does.
    """
    backbone = load_backbone(model, "bfloat16" if torch.cuda.is_available() else "float32")
    if sharded:
        whole = held_bytes(backbone)
        shard(backbone, ranks.count, ranks.device.type)
        held = ", ".join(_gib(each) for each in ranks.of_all(held_bytes(backbone)))
        console.print(
            f"backbone: {_gib(whole)} GiB, sharded over {ranks.count} processes, which hold {held} GiB",
            highlight=False,
            soft_wrap=True,
        )
    return backbone


def refuse_forward_passes_of_one(needs: Needs, words: int) -> None:
    """Refuses what the first process of a sharded run would have to compute alone.

    Args:
        needs: What the scoring config needs.
        words: Size of the vocabulary.

    Raises:
        SettingsError: A signal needs such passes.
    """
    if needs.figures and needs.measured(words) is None:
        raise SettingsError(
            f"reward.config: the signal {needs.figures[0]!r} needs forward passes of one process, and those of a "
            "sharded backbone need every process: train with a whole backbone, or with another config"
        )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.3g}"
