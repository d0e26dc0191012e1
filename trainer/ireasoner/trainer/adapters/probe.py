"""A probe: an adapter of zeros that the rollout server must be able to load before anything else is loaded.

It finds a rank that the server does not allow, a folder that the server does not see, and a server without adapters.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import httpx
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from ireasoner.trainer.errors import RolloutServerError, SettingsError, TrainerError
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas

_STATUS = re.compile(r"\w+ \S+: (\d{3}) ")
"""The status of a refusal, after the method and the address."""
_REFUSES_ADAPTER = frozenset({400, 422, 500})
"""Not 401, 403 and 429, which come from a gate in front of the server."""
_TOO_LARGE = re.compile(r"LoRA rank \d+ is greater than max_lora_rank")


def probe(client: RolloutClient | RolloutReplicas, policy: PeftModel, folder: Path) -> None:
    """Has the server load an adapter of zeros, and unload it.

    Args:
        client: The rollout server, or its replicas.
        policy: The policy with an adapter of the run's shape; it needs no storage (device `meta`).
        folder: Folder of the run's adapters.

    Raises:
        SettingsError: The server cannot serve the run's adapters; the message names the setting.
        RolloutServerError: The server was unreachable for longer than the budget.
    """
    name = f"probe-{token_hex(4)}"
    with _written(policy, folder.absolute() / name) as path:
        try:
            client.load_adapter(name, str(path))
        except RolloutServerError as error:
            raise _diagnosis(error, policy.peft_config[policy.active_adapter], folder) from error
        client.unload_adapter(name)


@contextmanager
def _written(policy: PeftModel, path: Path) -> Iterator[Path]:
    """The adapter's folder while the block lasts; what was made for it is removed."""
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        path.mkdir(parents=True)
        shape = policy.peft_config[policy.active_adapter]
        shape.save_pretrained(str(path))
        names = sorted(get_peft_model_state_dict(policy))[:2]  # lora_A and lora_B of one layer
        weights = get_peft_model_state_dict(policy)
        save_file(
            {name: torch.zeros(weights[name].shape) for name in names}, path / "adapter_model.safetensors"
        )
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        for parent in made[1:]:
            if not any(parent.iterdir()):
                parent.rmdir()


def _diagnosis(error: RolloutServerError, shape: LoraConfig, folder: Path) -> TrainerError:
    said = str(error)
    refusal = _STATUS.match(said)
    status = int(refusal[1]) if refusal else None
    if _TOO_LARGE.search(said):
        return SettingsError(
            f"lora.r: the rollout server serves no adapter of rank {shape.r}: start it with --max-lora-rank {shape.r} "
            f"({said})"
        )
    if "No adapter found" in said:
        return SettingsError(f"adapters_folder: the rollout server does not see {folder.absolute()} ({said})")
    if status == httpx.codes.NOT_FOUND:
        return SettingsError(
            "rollout.url: the server does not load adapters at run time: use rollout-server, or start vLLM with "
            f"--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True ({said})"
        )
    if status in _REFUSES_ADAPTER:
        return SettingsError(
            f"rollout.url: the server cannot serve adapters of this base model: does it serve it? ({said})"
        )
    return error
