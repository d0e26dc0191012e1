"""The configs for several GPUs, as far as they can be checked without GPUs."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from peft import get_peft_model
from rich.console import Console
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from ireasoner.trainer.adapters.backbone import lora_config, name_roles
from ireasoner.trainer.adapters.sharded_backbone import held_bytes, is_sharded, shard
from ireasoner.trainer.commands.memory_plan import memory_plan
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.launcher import take_sharding
from ireasoner.trainer.loop.policy_backbone import refuse_forward_passes_of_one
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.settings import ROLES, LoraSettings, RunSettings

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "accelerate"
SHAPES = {"7b": (28, 3584, 18944, 28, 4), "72b": (80, 8192, 29568, 64, 8)}
VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420}


def loaded(name: str) -> ClusterConfig:
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert isinstance(config, ClusterConfig)
    return config


def backbone(size: str) -> Any:
    """Qwen2.5-VL by its published shape, without storage."""
    layers, hidden, intermediate, heads, key_value_heads = SHAPES[size]
    text = {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "vocab_size": 152064,
    }
    vision = {**VISION, "out_hidden_size": hidden}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


@pytest.fixture
def meshes() -> Iterator[Callable[[int], None]]:
    """Starts several processes, of which this is the first and the others are fake."""

    def start(processes: int) -> None:
        dist.init_process_group("fake", rank=0, world_size=processes, store=FakeStore())

    yield start
    dist.destroy_process_group()


@pytest.mark.parametrize("size", ["7b", pytest.param("72b", marks=pytest.mark.slow)])
def test_a_sharded_backbone_takes_what_the_dry_run_says(
    size: str, tmp_path: Path, meshes: Callable[[int], None]
) -> None:
    """Each process holds its part of both towers and whole adapters, and fetches one layer at a time."""
    config = loaded(f"fsdp-{size}")
    assert config.distributed_type == DistributedType.FSDP
    assert config.mixed_precision == "bf16"
    processes = config.num_processes
    meshes(processes)
    with torch.device("meta"):
        base = backbone(size).bfloat16()
        shape = lora_config(base, LoraSettings())
    shard(base, processes, "cpu")
    with torch.device("meta"):
        policy = get_peft_model(base, shape)
        name_roles(policy, shape)
    counts = Counter(type(each).__mro__[2].__name__ for each in policy.modules() if is_sharded(each))
    assert counts == {
        "Qwen2_5_VLDecoderLayer": SHAPES[size][0],
        "Qwen2_5_VLVisionBlock": VISION["depth"],
        "Qwen2_5_VLForConditionalGeneration": 1,
    }
    for name, parameter in policy.named_parameters():
        assert isinstance(parameter, DTensor) is ("lora_" not in name), name
    base.config.save_pretrained(tmp_path)
    run = RunSettings(model=str(tmp_path), images=tmp_path, run_folder=tmp_path / "run")
    needed = memory_plan(run, on_gpu=True)
    adapters = len(ROLES) * needed.adapter_parameters * 4
    assert held_bytes(policy) - adapters == pytest.approx(needed.weights_gib * 2**30 / processes, rel=0.01)
    assert needed.per_gpu_gib(processes, sharded=True) < 80, "it fits"
    assert (needed.per_gpu_gib(processes) > 80) is (size == "72b"), "and must be sharded"


def test_deepspeed_shards_gradients_and_moments() -> None:
    config = loaded("deepspeed-7b")
    assert config.mixed_precision == "bf16"
    assert config.distributed_type == DistributedType.DEEPSPEED
    assert config.deepspeed_config["zero_stage"] == 2
    assert config.num_processes == 4


def test_zero_3_is_refused_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    settings = RunSettings(model="none", images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(SettingsError, match="ZeRO-3 cannot be trained: shard the backbone with configs"):
        train(settings, Console(quiet=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["fsdp", "fsdp_config"])
def test_trls_own_field_for_sharding_is_refused(tmp_path: Path, name: str) -> None:
    settings = RunSettings(
        model="none", images=tmp_path, run_folder=tmp_path / "run", grpo={name: "full_shard"}
    )
    with pytest.raises(SettingsError, match=rf"grpo.{name} cannot be set: the launcher says"):
        train(settings, Console(quiet=True))


@pytest.mark.parametrize("name", ["fsdp-7b", "fsdp-72b"])
def test_accelerate_asks_for_sharding_by_the_variables_that_the_trainer_reads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `accelerate launch` puts into the environment of each process for a config."""
    arguments = launch_command_parser().parse_args(["--config_file", str(FOLDER / f"{name}.yaml"), "train"])
    arguments, *_ = _validate_launch_command(arguments)
    environment = prepare_multi_gpu_env(arguments)
    for variable, value in environment.items():
        if variable.startswith(("ACCELERATE_", "FSDP_")):
            monkeypatch.setenv(variable, value)
    monkeypatch.setenv("WORLD_SIZE", str(arguments.num_processes))
    assert take_sharding()
    assert "ACCELERATE_USE_FSDP" not in os.environ, "accelerate would shard too"
    assert not take_sharding()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"FSDP_VERSION": "1"}, "fsdp_version 1: set fsdp_version: 2"),
        ({"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
        ({"FSDP_VERSION": "2", "FSDP_ACTIVATION_CHECKPOINTING": "true"}, "grpo.gradient_checkpointing"),
        ({"WORLD_SIZE": "1"}, "over several processes"),
    ],
)
def test_a_launcher_that_asks_for_something_else_is_refused(
    environment: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"ACCELERATE_USE_FSDP": "true", "WORLD_SIZE": "4", **environment}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=reason):
        take_sharding()


@pytest.mark.parametrize("asked", [None, "false", "False"])
def test_a_launcher_that_does_not_ask_leaves_the_backbone_whole(
    asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    if asked is not None:
        monkeypatch.setenv("ACCELERATE_USE_FSDP", asked)
    assert not take_sharding()


def test_a_signal_that_the_first_process_would_measure_is_refused() -> None:
    refuse_forward_passes_of_one(Needs(frozenset({"sum_logprob", "judge"})))
    with pytest.raises(
        SettingsError, match="signal 'mean_token_entropy' needs forward passes of one process"
    ):
        refuse_forward_passes_of_one(Needs(frozenset({"mean_token_entropy"})))


def test_rollouts_that_cannot_be_divided_among_the_processes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    settings = RunSettings(model="none", images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(SettingsError, match=r"5 rollouts of an update .* among 3 processes"):
        train(settings, Console(quiet=True))
