"""The memory of a planned run, from the shapes of its model and of its largest forward pass.

The bytes that autograd keeps were counted tensor by tensor on the shape of Qwen2.5-VL, with adapters on all seven
linear layers of a decoder layer; `tests/trainer/test_memory_plan.py` counts them again.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from ireasoner.trainer.adapters.sharded_backbone import layers
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.preflight import policy_shape, supported_config
from ireasoner.trainer.loop.shared_prompt import can_pack
from ireasoner.trainer.settings import ROLES, RunSettings

_GIB = 2**30
_ASSUMED_PROMPT_TOKENS = 1280
"""Of a prompt whose length is not known: an image of about a thousand tokens, and its text."""
_WORDS_AT_A_TIME = 32_768
"""TRL computes log-probabilities over so many words of the vocabulary at a time."""


@dataclass(frozen=True, slots=True)
class _Device:
    """What a device takes besides what is counted.

    Attributes:
        process_bytes: What a process holds besides weights: torch, transformers and TRL.
        bytes_per_logit: Of the words that TRL computes at a time.
        copies_head: Whether it also copies the head's weights of these words, in float32.
        per_kept: Bytes taken per byte that autograd keeps of all layers.
        per_recomputed: The same of the one layer that is computed again with gradient checkpointing, whose short-lived
            copies are taken beside it.
    """

    process_bytes: int
    bytes_per_logit: int
    copies_head: bool
    per_kept: float
    per_recomputed: float


_CPU = _Device(int(1.1 * _GIB), 26, copies_head=True, per_kept=1.35, per_recomputed=4.2)
"""Measured with 2, 6 and 36 layers of Qwen2.5-VL-3B. glibc's allocator leaves holes where short-lived copies were, and
TRL computes in several steps what is one kernel on a GPU."""
_GPU = _Device(0, 2, copies_head=False, per_kept=1.0, per_recomputed=1.0)
"""Not measured."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """The longest sequences that a run trains on.

    Attributes:
        prompt_tokens: Of a prompt with its image.
        completion_tokens: Of a completion.
    """

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a run needs.

    Attributes:
        backbone_parameters: Frozen parameters.
        adapter_parameters: Trained parameters of one role.
        dtype: Precision of the backbone.
        weights_gib: The backbone.
        fetched_gib: What is whole at a time in each process of a sharded backbone: what belongs to no layer, the layer
            that computes, and the next one.
        training_gib: All adapters with AdamW's moments, and the gradients of one. (The copies of one that undo a failed
            step are made when the activations are gone.)
        process_gib: What a process holds besides, on a CPU.
        pass_gib: What a forward and a backward pass take, whatever the number of rollouts.
        rollout_gib: What they take per rollout.
        rollouts_per_pass: Rollouts in a forward pass on a single device.
        fixed_pass: Whether several GPUs each take as many (`micro_batch_size` is set), or share them.
        shares_prompts: Whether the rollouts of a prompt share its forward pass.
        lengths: The sequences that this is for.
    """

    backbone_parameters: int
    adapter_parameters: int
    dtype: str
    weights_gib: float
    fetched_gib: float
    training_gib: float
    process_gib: float
    pass_gib: float
    rollout_gib: float
    rollouts_per_pass: int
    fixed_pass: bool
    shares_prompts: bool
    lengths: Lengths

    @property
    def activations_gib(self) -> float:
        """Activations of a forward pass on one device."""
        return self.pass_gib + self.rollouts_per_pass * self.rollout_gib

    @property
    def total_gib(self) -> float:
        """Everything on one device, without the rollout server's own memory."""
        return self.per_gpu_gib(1)

    def per_gpu_gib(self, gpus: int, *, sharded: bool = False) -> float:
        """Memory on each of `gpus` GPUs: the rollouts are divided, and if `sharded` the weights of the backbone too."""
        rollouts = self.rollouts_per_pass if self.fixed_pass else -(-self.rollouts_per_pass // gpus)
        weights = self.weights_gib / gpus + self.fetched_gib if sharded else self.weights_gib
        passes = self.pass_gib + rollouts * self.rollout_gib
        return self.process_gib + weights + self.training_gib + passes

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What to show of it, as names and values."""
        tokens = self.lengths.prompt_tokens + self.lengths.completion_tokens
        process = [("memory, libraries", f"{self.process_gib:.3g} GiB")] if self.process_gib else []
        return [
            ("parameters of the backbone", f"{self.backbone_parameters:,}, frozen"),
            ("parameters of an adapter", f"{self.adapter_parameters:,}, one adapter per role"),
            *process,
            (f"memory, backbone in {self.dtype}", f"{self.weights_gib:.3g} GiB"),
            ("memory, adapters and AdamW", f"{self.training_gib:.3g} GiB"),
            (f"memory, forward pass at {tokens:,} tokens", f"{self.activations_gib:.3g} GiB"),
            ("total memory, estimated", f"{self.total_gib:.3g} GiB on the trainer's device"),
        ]


def memory_plan(
    settings: RunSettings,
    lengths: Lengths | None = None,
    *,
    on_gpu: bool | None = None,
    within: re.Pattern[str] | None = None,
) -> MemoryPlan:
    """Builds the policy without storage, and adds up its parameters and activations.

    Args:
        settings: The run.
        lengths: Its longest sequences; None assumes prompts of 1,280 tokens.
        on_gpu: Whether the run is on a GPU, where it computes in bfloat16 with gradient checkpointing unless the
            settings say otherwise; None: as the run would be on this machine.
        within: See `lora_config`.

    Raises:
        SettingsError: The model cannot be read, it has no layer named in `lora.target_modules`, or TRL refuses a
            field.
    """
    config = grpo_config(settings)

    def chosen(field: str, *, on_that_device: bool | None) -> bool:
        of_config = on_gpu is None or field in settings.grpo
        return bool(getattr(config, field) if of_config else on_that_device)

    in_bfloat16 = chosen("bf16", on_that_device=on_gpu)
    checkpoints = chosen("gradient_checkpointing", on_that_device=on_gpu)
    on_cpu = chosen("use_cpu", on_that_device=not on_gpu)
    model_config = supported_config(settings.model, Console(quiet=True))
    policy = policy_shape(settings, model_config, within=within)
    parameters = dict(policy.named_parameters())
    trained = sum(parameter.numel() for name, parameter in parameters.items() if "lora_" in name)
    frozen = sum(parameter.numel() for parameter in parameters.values()) - trained
    layer_sizes = [_frozen(layer) for layer in layers(policy.get_base_model())]
    weight_bytes = 2 if in_bfloat16 else 4
    lengths = lengths or _assumed(settings)
    adapters = len(ROLES) + (settings.reward.voters == "teacher")
    shares = can_pack(policy.get_base_model().model) and not checkpoints
    device = _CPU if on_cpu else _GPU
    kept = _Kept(device, model_config, settings, lengths, weight_bytes, shares=shares)
    of_layers = kept.checkpointed if checkpoints else kept.whole
    return MemoryPlan(
        backbone_parameters=frozen,
        adapter_parameters=trained,
        dtype="bfloat16" if in_bfloat16 else "float32",
        weights_gib=weight_bytes * frozen / _GIB,
        fetched_gib=weight_bytes * (frozen - sum(layer_sizes) + 2 * max(layer_sizes, default=0)) / _GIB,
        training_gib=trained * (4 * adapters + 8 * len(ROLES) + 4) / _GIB,
        process_gib=device.process_bytes / _GIB,
        pass_gib=kept.head / _GIB,
        rollout_gib=(of_layers + kept.logits(everywhere=on_cpu and not shares)) / _GIB,
        rollouts_per_pass=settings.rollouts_per_micro_batch,
        fixed_pass=settings.micro_batch_size is not None,
        shares_prompts=shares,
        lengths=lengths,
    )


def _assumed(settings: RunSettings) -> Lengths:
    return Lengths(_ASSUMED_PROMPT_TOKENS, settings.rollout.solver_max_tokens)


def _frozen(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for name, parameter in module.named_parameters() if "lora_" not in name)


class _Kept:
    """Bytes that a forward and a backward pass take, per rollout unless it says otherwise.

    Args:
        device: Where.
        config: The model's.
        settings: The run.
        lengths: Its longest sequences.
        weight_bytes: Bytes of a weight of the backbone.
        shares: Whether the rollouts of a prompt share its forward pass.
    """

    def __init__(
        self,
        device: _Device,
        config: Any,
        settings: RunSettings,
        lengths: Lengths,
        weight_bytes: int,
        *,
        shares: bool,
    ) -> None:
        self._device = device
        text = config.get_text_config()
        self._layers: int = text.num_hidden_layers
        self._hidden: int = text.hidden_size
        self._intermediate: int = text.intermediate_size
        self._words: int = min(text.vocab_size, _WORDS_AT_A_TIME)
        self._bytes = weight_bytes
        self._lengths = lengths
        rollouts = min(settings.rollouts_per_view, settings.rollouts_per_micro_batch) if shares else 1
        self._tokens = lengths.completion_tokens + lengths.prompt_tokens / rollouts
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        self._keys: int = text.num_key_value_heads * head
        self._attended = lengths.prompt_tokens + lengths.completion_tokens if shares else 0
        self._has_dropout = settings.lora.dropout > 0

    @property
    def whole(self) -> float:
        """Without gradient checkpointing: what every layer keeps."""
        return self._layers * self._layer * self._device.per_kept

    @property
    def checkpointed(self) -> float:
        """With it: the input of every layer, and what one keeps while it is computed again."""
        inputs = self._layers * self._tokens * self._hidden * self._bytes
        return inputs + self._layer * self._device.per_recomputed

    @property
    def head(self) -> float:
        """The head's weights of the words that are computed at a time, if they are copied; once per pass."""
        return self._device.copies_head * self._words * self._hidden * 4

    def logits(self, *, everywhere: bool) -> float:
        """Those of the words that are computed at a time: of all tokens, or of those of completions."""
        positions = self._tokens if everywhere else self._lengths.completion_tokens
        return positions * self._words * self._device.bytes_per_logit

    @property
    def _layer(self) -> float:
        """What a layer keeps.

        In bfloat16, per token: float32 inputs of both norms; of each adapter its input; of attention query, keys,
        values and output; of the MLP gate, its activation and up. In float32, adapters share their inputs. Dropout
        gives each adapter an input of its own, and a mask.
        """
        per_token = 24 * self._hidden + 4 * self._bytes * self._intermediate + 2 * self._bytes * self._keys
        if self._has_dropout:
            per_token += (24 if self._bytes == 2 else 40) * self._hidden + 4 * self._intermediate
        # Rollouts that share a prompt have its keys and values each, and a mask over it.
        shared = self._attended * self._bytes * (2 * self._keys + self._lengths.completion_tokens)
        return self._tokens * per_token + shared
