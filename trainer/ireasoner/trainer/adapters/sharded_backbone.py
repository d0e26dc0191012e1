"""A backbone that is sharded over the processes of a run: each holds a part of every weight.

A layer is whole in a process only while it computes. The adapters are made on the sharded backbone and stay whole in
every process: they are small, and so the first process can publish and save them alone, whatever happens to the others.
A checkpoint does not depend on how many processes held the backbone.

Every forward pass fetches weights from every process, so all must make the same passes in the same order.
"""

from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor


def shard(backbone: Any, processes: int, device: str) -> None:
    """Leaves in each process its part of the backbone, on its device.

    A layer at a time is moved there as a whole. What belongs to no layer (embeddings, head, the ends of the vision
    tower) is one more part, whole throughout a forward or a backward pass.

    Args:
        backbone: The base model without adapters, whole in each process.
        processes: Number of processes, each of which calls this.
        device: Kind of their devices, such as `cuda`.
    """
    backbone.requires_grad_(False)
    mesh = init_device_mesh(device, (processes,))
    # By default, the last part stays whole until a backward pass, which the canary does not make. The process that then
    # writes a state dict gives it up, and would fetch it alone in the next forward pass.
    for part in (*layers(backbone), backbone):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def layers(backbone: Any) -> list[torch.nn.Module]:
    """What is fetched as one: the layers of both towers, as transformers names their classes."""
    return [each for each in backbone.modules() if type(each).__name__ in backbone._no_split_modules]


def is_sharded(backbone: Any) -> bool:
    """Whether a base model is sharded."""
    return isinstance(backbone, FSDPModule)


def held_bytes(model: torch.nn.Module) -> int:
    """Memory of the weights that this process holds, in bytes."""
    return sum(
        (parameter.to_local() if isinstance(parameter, DTensor) else parameter).nbytes
        for parameter in model.parameters()
    )
