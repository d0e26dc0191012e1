"""TRL's correction where the policy that sampled and the policy that trains do not agree to the last digits.

vLLM in bfloat16 and the trainer have other kernels, so the same weights give other log-probabilities. TRL weighs each
token's (or sequence's) loss by a bounded ratio of the two; it computes that only for rollouts of its own vLLM client,
so it is computed here, by the same formula and options (`vllm_importance_sampling_*` of its `GRPOConfig`).
"""

import torch
from trl import GRPOConfig


def importance_ratio(
    trained: torch.Tensor, sampled: torch.Tensor, mask: torch.Tensor, config: GRPOConfig
) -> torch.Tensor:
    """exp(trained - sampled), bounded as `config` says: clipped (`*_truncate`), or 0 where out of bounds (`*_mask`).

    Args:
        trained: Log-probability of each sampled token, recomputed by the trainer, shape (rows, tokens).
        sampled: The same as sampled.
        mask: 1 for a token of the completion, shape (rows, tokens).
        config: TRL's `vllm_importance_sampling_mode`, `_clip_min` and `_clip_max`.

    Returns:
        Shape (rows, tokens) in the `token_*` modes, (rows, 1) in the `sequence_*` modes.
    """
    difference = (trained - sampled) * mask
    level, _, bound = config.vllm_importance_sampling_mode.partition("_")
    if level == "sequence":
        difference = difference.sum(dim=-1, keepdim=True)
    ratio = difference.exp()
    low, high = config.vllm_importance_sampling_clip_min, config.vllm_importance_sampling_clip_max
    clipped = ratio if low is None and high is None else ratio.clamp(min=low, max=high)
    return clipped if bound == "truncate" else ratio.where(clipped == ratio, 0.0)
