"""The backbone of a run: whole in each process, or sharded over them."""

from typing import Any

from rich.console import Console
from trl import GRPOConfig

from ireasoner.trainer.adapters.backbone import load_backbone
from ireasoner.trainer.adapters.sharded_backbone import held_bytes, shard
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.rewards.needs import Needs


def backbone_dtype(config: GRPOConfig) -> str:
    """The precision of the frozen weights: bfloat16 if the run computes in it (`grpo.bf16`), else float32."""
    return "bfloat16" if config.bf16 else "float32"


def policy_backbone(model: str, dtype: str, ranks: Ranks, console: Console, *, sharded: bool) -> Any:
    """The base model: whole and on the CPU, or if `sharded` this process's part of it on its device.

    Prints what each process holds. Raises as `load_config` does.

    Args:
        model: Folder or hub id.
        dtype: Precision of the weights; see `backbone_dtype`.
        ranks: The processes of the run.
        console: Shows that it is loaded, which takes minutes for a large model on the hub.
        sharded: Whether each process holds a part.
    """
    with console.status(f"loading {model} in {dtype}"):
        backbone = load_backbone(model, dtype)
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


def refuse_forward_passes_of_one(needs: Needs) -> None:
    """Refuses what the first process of a sharded run would have to compute alone.

    Args:
        needs: What the scoring config needs.

    Raises:
        SettingsError: A signal needs such passes.
    """
    if needs.figures:
        raise SettingsError(
            f"reward.config: the signal {needs.figures[0]!r} needs forward passes of one process, and those of a "
            "sharded backbone need every process: train with a whole backbone, or with another config"
        )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.3g}"
