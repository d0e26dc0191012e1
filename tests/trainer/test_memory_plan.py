"""The plan's activations are those that autograd keeps; what else is in its sum."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig
from trl.trainer.utils import add_fused_lm_head

from ireasoner.trainer.adapters.backbone import lora_config, name_roles
from ireasoner.trainer.commands.memory_plan import Lengths, memory_plan
from ireasoner.trainer.loop.shared_prompt import pack
from ireasoner.trainer.settings import RunSettings
from scripts.shapes import SHAPE_3B

SIDE, TEXT, COMPLETION, ROLLOUTS = 6, 27, 40, 2
LENGTHS = Lengths(SIDE * SIDE + TEXT, COMPLETION)
IMAGE, START, END, WORDS = 10, 12, 13, 512
GIB = 2**30


def shape(
    layers: int, hidden: int = 512, intermediate: int = 1408, key_value_heads: int = 1
) -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config={
            **SHAPE_3B["text_config"],
            "vocab_size": WORDS,
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_attention_heads": hidden // 128,
            "num_key_value_heads": key_value_heads,
            "bos_token_id": None,
            "eos_token_id": 1,
            "pad_token_id": 0,
        },
        vision_config={
            **SHAPE_3B["vision_config"],
            "depth": 1,
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "fullatt_block_indexes": [0],
        },
        image_token_id=IMAGE,
        video_token_id=11,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=True,
    )


def settings(config: Qwen2_5_VLConfig, folder: Path, **grpo: Any) -> RunSettings:
    config.save_pretrained(folder)
    return RunSettings(
        model=str(folder),
        images=folder,
        run_folder=folder / "run",
        group_size=ROLLOUTS,
        lora={"dropout": grpo.pop("dropout", 0.0)},
        grpo=grpo,
    )


def inputs() -> dict[str, Any]:
    """Rows of one prompt with its image, and completions."""
    ids = torch.randint(20, WORDS, (ROLLOUTS, LENGTHS.prompt_tokens + COMPLETION))
    ids[:, 3], ids[:, 4 : 4 + SIDE**2], ids[:, 4 + SIDE**2] = START, IMAGE, END
    grid = torch.tensor([[1, 2 * SIDE, 2 * SIDE]] * ROLLOUTS)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == IMAGE).long(),
        "pixel_values": torch.randn(int(grid.prod(1).sum()), 3 * 2 * 14 * 14),
        "image_grid_thw": grid,
    }


@contextmanager
def kept(policy: Any) -> Iterator[list[int]]:
    """The bytes of each tensor that the block keeps for a backward pass; weights are not among them."""
    own = {each.untyped_storage().data_ptr() for each in (*policy.parameters(), *policy.buffers())}
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            own.add(storage.data_ptr())
            sizes.append(storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def kept_bytes(of: RunSettings, config: Qwen2_5_VLConfig, *, shares: bool) -> int:
    """What a forward pass of a policy keeps, and `graph` alive while it is counted."""
    in_bfloat16 = of.grpo["bf16"]
    torch.manual_seed(0)
    backbone = AutoModelForImageTextToText.from_config(
        config, dtype=torch.bfloat16 if in_bfloat16 else torch.float32
    )
    adapter = lora_config(backbone, of.lora)
    policy = get_peft_model(backbone, adapter)
    name_roles(policy, adapter)
    if of.grpo["gradient_checkpointing"]:
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
        backbone.enable_input_require_grads()
    add_fused_lm_head(policy.get_base_model(), outputs=("log_probs", "entropy"))
    policy.train()
    rows = inputs()
    with kept(policy) as sizes, torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
        if shares:
            packed = pack(
                backbone.model,
                {**rows, "num_images": [1] * ROLLOUTS},
                torch.zeros(ROLLOUTS).long(),
                COMPLETION,
            )
            with packed.read_by(backbone.model):
                graph = policy(**packed.inputs, shift_labels=packed.targets[None], fused_lm_head=True)
        else:
            labels = rows["input_ids"].clone()
            labels[:, :-COMPLETION] = -100
            graph = policy(**rows, labels=labels, fused_lm_head=True)
    assert graph.log_probs.requires_grad
    return sum(sizes)


@pytest.mark.parametrize("dropout", [0.0, 0.05])
@pytest.mark.parametrize("bf16", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["whole", "checkpointed"])
def test_the_activations_are_those_that_autograd_keeps(
    checkpointing: bool, bf16: bool, dropout: float, tmp_path: Path
) -> None:
    """Of each further layer; on a GPU, so that the allocator's overhead is not in the plan."""
    counted, planned = [], []
    for layers in (1, 3):
        config = shape(layers)
        of = settings(
            config, tmp_path / f"{layers}", bf16=bf16, gradient_checkpointing=checkpointing, dropout=dropout
        )
        plan = memory_plan(of, LENGTHS, on_gpu=True)
        assert plan.shares_prompts is not checkpointing
        counted.append(kept_bytes(of, config, shares=plan.shares_prompts))
        planned.append(plan.activations_gib * GIB)
    # Copies of the adapters in bfloat16 and their inner states, which the plan leaves out, grow with the rank.
    assert planned[1] - planned[0] == pytest.approx(counted[1] - counted[0], rel=0.12)


@pytest.mark.parametrize(
    ("hidden", "intermediate", "key_value_heads"), [(1024, 512, 1), (512, 4096, 1), (512, 512, 4)]
)
def test_every_dimension_counts(hidden: int, intermediate: int, key_value_heads: int, tmp_path: Path) -> None:
    counted, planned = [], []
    for layers in (1, 2):
        config = shape(layers, hidden, intermediate, key_value_heads)
        of = settings(config, tmp_path / f"{layers}", bf16=True, gradient_checkpointing=False)
        counted.append(kept_bytes(of, config, shares=True))
        planned.append(memory_plan(of, LENGTHS, on_gpu=True).activations_gib * GIB)
    assert planned[1] - planned[0] == pytest.approx(counted[1] - counted[0], rel=0.12)


def test_a_gpu_computes_in_bfloat16_with_checkpointing_unless_told_otherwise(tmp_path: Path) -> None:
    of = settings(shape(4), tmp_path)
    here, gpu = (memory_plan(of, LENGTHS, on_gpu=on_gpu) for on_gpu in (False, True))
    assert (here.dtype, gpu.dtype) == ("float32", "bfloat16")
    assert here.weights_gib == 2 * gpu.weights_gib
    assert here.shares_prompts
    assert not gpu.shares_prompts
    assert here.rollout_gib > gpu.rollout_gib
    assert here.process_gib > gpu.process_gib == 0
    told = settings(shape(4), tmp_path, bf16=False, gradient_checkpointing=False)
    assert memory_plan(told, LENGTHS, on_gpu=True).weights_gib == here.weights_gib


@pytest.mark.parametrize("on_gpu", [None, True], ids=["here", "on a GPU"])
def test_the_fields_count_as_trl_reads_them(on_gpu: bool | None, tmp_path: Path) -> None:
    of = settings(shape(2), tmp_path, bf16="false", gradient_checkpointing="no", use_cpu="true")
    plan = memory_plan(of, LENGTHS, on_gpu=on_gpu)
    assert plan.dtype == "float32"
    assert plan.shares_prompts
    assert plan.process_gib > 0


def test_the_adapters_have_moments_and_one_has_gradients(tmp_path: Path) -> None:
    of = settings(shape(2), tmp_path)
    gpu = memory_plan(of, LENGTHS, on_gpu=True)
    assert gpu.training_gib * GIB == pytest.approx(gpu.adapter_parameters * (2 * (4 + 8) + 4))
    teacher = of.model_copy(update={"reward": of.reward.model_copy(update={"voters": "teacher"})})
    more = memory_plan(teacher, LENGTHS, on_gpu=True).training_gib - gpu.training_gib
    assert more * GIB == pytest.approx(gpu.adapter_parameters * 4)


def test_longer_sequences_and_more_rollouts_take_more(tmp_path: Path) -> None:
    of = settings(shape(2), tmp_path)
    one = memory_plan(of, LENGTHS)
    assert memory_plan(of, Lengths(2 * LENGTHS.prompt_tokens, COMPLETION)).total_gib > one.total_gib
    assert memory_plan(of, Lengths(LENGTHS.prompt_tokens, 2 * COMPLETION)).total_gib > one.total_gib
    many = of.model_copy(update={"groups_per_update": 3})
    assert memory_plan(many, LENGTHS).rollouts_per_pass == 3 * one.rollouts_per_pass
    more = memory_plan(many, LENGTHS).activations_gib - one.activations_gib
    assert more == pytest.approx(2 * one.rollouts_per_pass * one.rollout_gib)


def test_a_cpu_takes_more_for_logits_and_holes_than_a_gpu(tmp_path: Path) -> None:
    for checkpointing in (False, True):
        of = settings(shape(4), tmp_path, bf16=True, gradient_checkpointing=checkpointing)
        cpu, gpu = (memory_plan(of, LENGTHS, on_gpu=on_gpu) for on_gpu in (False, True))
        assert cpu.rollout_gib > 1.3 * gpu.rollout_gib
        assert cpu.pass_gib > gpu.pass_gib == 0
