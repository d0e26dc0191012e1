"""The configs for several GPUs, as far as they can be checked without GPUs."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import DistributedType
from peft import get_peft_model
from rich.console import Console
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from ireasoner.trainer.adapters.backbone import lora_config, name_roles
from ireasoner.trainer.commands.dry_run import plan
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.settings import LoraSettings, RunSettings

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
def meshes() -> Iterator[Callable[[int], DeviceMesh]]:
    """Makes a mesh of several GPUs, of which this process is the first and the others are fake."""

    def mesh(processes: int) -> DeviceMesh:
        dist.init_process_group("fake", rank=0, world_size=processes, store=FakeStore())
        return init_device_mesh("cpu", (processes,))

    yield mesh
    dist.destroy_process_group()


@pytest.mark.parametrize("size", ["7b", pytest.param("72b", marks=pytest.mark.slow)])
def test_fsdp_shards_every_layer_of_the_policy_as_the_dry_run_expects(
    size: str, tmp_path: Path, meshes: Callable[[int], DeviceMesh]
) -> None:
    """Each process holds its part of both towers and both adapters, and fetches one layer at a time."""
    config = loaded(f"fsdp-{size}")
    assert config.distributed_type == DistributedType.FSDP
    assert config.mixed_precision == "bf16"
    fsdp = config.fsdp_config
    names = fsdp["fsdp_transformer_layer_cls_to_wrap"].split(",")
    assert names == ["Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"]
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=fsdp["fsdp_version"],
        auto_wrap_policy=fsdp["fsdp_auto_wrap_policy"].lower(),
        transformer_cls_names_to_wrap=names,
        reshard_after_forward=fsdp["fsdp_reshard_after_forward"],
    )
    with torch.device("meta"):
        base = backbone(size).bfloat16()
        shape = lora_config(base, LoraSettings())
        policy = get_peft_model(base, shape)
        name_roles(policy, shape)
    plugin.set_auto_wrap_policy(policy)
    layers = [
        module
        for module in policy.modules()
        if plugin.auto_wrap_policy(module=module, recurse=False, nonwrapped_numel=0)
    ]
    counts = Counter(type(layer).__name__ for layer in layers)
    assert counts == {"Qwen2_5_VLDecoderLayer": SHAPES[size][0], "Qwen2_5_VLVisionBlock": VISION["depth"]}
    mesh = meshes(config.num_processes)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=plugin.reshard_after_forward)
    fully_shard(policy, mesh=mesh)

    parameters = list(policy.parameters())
    assert all(isinstance(parameter, DTensor) for parameter in parameters)
    held = {
        trained: sum(
            p.to_local().numel() for name, p in policy.named_parameters() if ("lora_" in name) is trained
        )
        for trained in (False, True)
    }
    base.config.save_pretrained(tmp_path)
    needed = plan(RunSettings(model=str(tmp_path), images=tmp_path, run_folder=tmp_path / "run"))
    assert held[False] == pytest.approx(needed.backbone_parameters / config.num_processes, rel=0.01)
    assert held[True] == pytest.approx(2 * needed.adapter_parameters / config.num_processes, rel=0.01)
    largest = max(sum(p.numel() for p in layer.parameters()) for layer in layers)
    sharded_gib = (needed.weights_gib + needed.training_gib) / config.num_processes
    layers_gib = 2 * 2 * largest / 2**30  # the next layer is fetched while one computes
    assert sharded_gib + layers_gib + needed.activations_gib < 80, "it fits"


@pytest.mark.parametrize(("size", "stage"), [("7b", 2), ("72b", 3)])
def test_deepspeed_shards_what_does_not_fit(size: str, stage: int) -> None:
    config = loaded(f"deepspeed-{size}")
    assert config.mixed_precision == "bf16"
    assert config.distributed_type == DistributedType.DEEPSPEED
    assert config.deepspeed_config["zero_stage"] == stage
    assert config.num_processes == {"7b": 4, "72b": 16}[size]


@pytest.mark.parametrize(
    ("name", "value"), [("ACCELERATE_USE_FSDP", "true"), ("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")]
)
def test_a_sharded_backbone_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    settings = RunSettings(model="none", images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(SettingsError, match="cannot be trained yet"):
        train(settings, Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_backbone_sharded_by_trls_own_field_is_refused_too(tmp_path: Path) -> None:
    settings = RunSettings(
        model="none", images=tmp_path, run_folder=tmp_path / "run", grpo={"fsdp": "full_shard"}
    )
    with pytest.raises(SettingsError, match="cannot be trained yet"):
        train(settings, Console(quiet=True))


def test_rollouts_that_cannot_be_divided_among_the_processes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    settings = RunSettings(model="none", images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(SettingsError, match=r"5 rollouts of an update .* among 3 processes"):
        train(settings, Console(quiet=True))
