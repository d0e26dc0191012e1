"""What the launcher of several processes asks for: how many they are, and whether the backbone is sharded."""

import os

from ireasoner.trainer.errors import SettingsError

_SHARDS = "ACCELERATE_USE_FSDP"
"""Set by `accelerate launch` for a config with `distributed_type: FSDP`; set it for torchrun."""

_UNSUPPORTED = {
    ("FSDP_VERSION", "1"): "fsdp_version 1: set fsdp_version: 2",
    ("FSDP_OFFLOAD_PARAMS", "true"): "fsdp_offload_params: set it to false",
    ("FSDP_ACTIVATION_CHECKPOINTING", "true"): (
        "fsdp_activation_checkpointing: use grpo.gradient_checkpointing, which is on by default on a GPU"
    ),
}


def launched_processes() -> int:
    """The number of processes that a launcher started for this run; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def take_sharding() -> bool:
    """Whether the launcher asks for a sharded backbone, by accelerate's config for FSDP.

    The request is removed from the environment, so accelerate does not see it. It would shard on GPUs alone, and the
    adapters too, of which its checkpoints hold the active one. `adapters/sharded_backbone` shards on any device.

    Raises:
        SettingsError: The config asks for something else too, or there is one process.
    """
    if os.environ.pop(_SHARDS, "false").lower() != "true":
        return False
    for (name, value), reason in _UNSUPPORTED.items():
        if os.environ.get(name, "").lower() == value:
            raise SettingsError(f"the launcher's FSDP config cannot be trained with {reason}")
    if launched_processes() == 1:
        raise SettingsError("a backbone is sharded over several processes, and the launcher started one")
    return True
