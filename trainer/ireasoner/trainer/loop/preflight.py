"""What is checked before a run writes its folder: the model, the paths, and both servers."""

import re
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from rich.console import Console
from transformers import AutoModelForImageTextToText

from ireasoner.clients import Group, RequestRefused, RewardClient, Rollout
from ireasoner.trainer.adapters.architecture import refuse_other_inputs, refuse_other_kinds
from ireasoner.trainer.adapters.backbone import (
    is_hub_id,
    load_config,
    load_processor,
    lora_config,
)
from ireasoner.trainer.adapters.probe import probe
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.images import check_images_address
from ireasoner.trainer.loop.seeds import check_seeds
from ireasoner.trainer.output_path import require_folder
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.rewards.shadow_labels import Labels, load_labels
from ireasoner.trainer.rewards.variant import RewardVariant, named_variant
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.server_kind import require_kind
from ireasoner.trainer.run_folder.run_folder import refuse_other_run
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.views import named_contrast, named_views

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin")
_PROBE = Group(
    id="preflight",
    rollouts=[
        Rollout(id=str(i), text=f"<think>\nStep 1: {i} + 1 = 2.\n</think>\n<answer>2</answer>")
        for i in (1, 2)
    ],
)
"""A group that every scoring config accepts."""


def say_where(model: str, console: Console) -> None:
    """Says that a model is looked for on the hub, which takes half a minute to give up without a network."""
    if is_hub_id(model):
        console.print(f"{model} is no folder here: looking for it on the model hub", highlight=False)


def supported_config(model: str, console: Console) -> Any:
    """The config of a base model that the loop can train.

    Raises:
        SettingsError: There is no such model, or it is no decoder that takes images.
    """
    say_where(model, console)
    config = load_config(model)
    refuse_other_kinds(model, config)
    return config


def policy_shape(settings: RunSettings, config: Any, *, within: re.Pattern[str] | None = None) -> PeftModel:
    """The policy with one adapter, without storage; see `lora_config` for `within`.

    Raises:
        SettingsError: The model has no layer named in `lora.target_modules`.
    """
    with torch.device("meta"):
        backbone = AutoModelForImageTextToText.from_config(config)
        return get_peft_model(backbone, lora_config(backbone, settings.lora, within=within))


def check_files(settings: RunSettings) -> tuple[Labels | None, RewardVariant | None]:
    """Finds paths and functions that cannot be used, but for the images and the model.

    Returns:
        What `labels` and `reward.function` name.

    Raises:
        SettingsError: A folder cannot be written, the folder of the run holds another one, the token, the labels or the
            reward cannot be read, there is no such view, or an update is too large.
        ImagesError: The file of labels has a bad line.
    """
    check_seeds(settings)
    refuse_other_run(settings)
    require_folder("run_folder", settings.run_folder)
    if settings.adapters_folder is not None:
        require_folder("adapters_folder", settings.adapters_folder)
    settings.reward.token()
    named_views(settings.views.names)
    named_contrast(settings.views.contrast)
    return load_labels(settings.labels), named_variant(settings.reward.function)


def check_images(settings: RunSettings) -> None:
    """Finds missing images before anything is read.

    Raises:
        ImagesError: There are none at the address.
        SettingsError: A setting of `data` means nothing for them.
    """
    check_images_address(settings.images, settings.data)


def check_model(settings: RunSettings) -> Any:
    """Finds a model whose processor or weights are missing, without loading weights; returns the run's processor.

    Raises:
        SettingsError: They are, the bounds of an image contradict each other, or the processor makes inputs that the
            training forward pass does not take.
    """
    model, rollout = settings.model, settings.rollout
    processor = load_processor(model, min_pixels=rollout.min_pixels, max_pixels=rollout.max_pixels)
    folder = Path(model).expanduser()
    if folder.is_dir() and not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise SettingsError(f"model: {model} holds no weights (*.safetensors)")
    refuse_other_inputs(model, processor)
    return processor


def check_kinds(settings: RunSettings) -> None:
    """Refuses addresses at which another server answers, before anything is waited for.

    Raises:
        SettingsError: An address is not that of the server it should be.
    """
    require_kind("reward.url", settings.reward.url, "reward server")
    for url in settings.rollout.url.split(","):
        require_kind("rollout.url", url, "rollout server")


def check_servers(
    settings: RunSettings, rollouts: RolloutReplicas, rewards: RewardClient, policy: PeftModel
) -> Needs:
    """Has both servers, which must be ready, do for the run what they will have to do.

    Returns what the scoring config needs besides texts.

    Args:
        settings: The run.
        rollouts: The rollout servers.
        rewards: The reward server.
        policy: The run's policy; see `policy_shape`.

    Raises:
        SettingsError: A server refuses what the settings ask for; the message names the setting.
        RolloutServerError: The rollout server was unreachable for longer than the budget.
        RewardError: The reward server did not answer.
    """
    reward = settings.reward
    config: Any = {"preset": reward.config, **reward.overrides} if reward.overrides else reward.config
    try:
        rewards.score("solver", [_PROBE], config=config, progress=0.0, record=False)
        needs = Needs.of({**rewards.scoring_config(reward.config), **reward.overrides})
    except RequestRefused as error:
        refused = "reward.config and reward.overrides" if reward.overrides else "reward.config"
        setting = "reward.token_file" if error.status in (401, 403) else refused
        raise SettingsError(f"{setting}: {reward.url} refuses: {error}") from error
    needs.check(settings)
    rollouts.models()
    probe(rollouts, policy, settings.adapters_folder or settings.run_folder / "adapters")
    return needs
