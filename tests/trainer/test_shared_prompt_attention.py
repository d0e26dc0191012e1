"""Attention over packed rollouts is that of each rollout alone after its prompt."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from ireasoner.trainer.loop.shared_prompt_attention import Layout, attend

HEADS, KEY_HEADS, WIDTH = 4, 2, 8
LAYER = SimpleNamespace(num_key_value_groups=HEADS // KEY_HEADS)

CASES = {
    "one rollout": ([3], [2], [0]),
    "rollouts of several lengths": ([4], [1, 5, 3], [0, 0, 0]),
    "prompts of several lengths": ([2, 6, 1], [3, 3, 2, 1], [0, 1, 1, 2]),
    "a rollout without tokens": ([3, 2], [0, 4, 0], [0, 0, 1]),
}


def layout(prompts: list[int], rollouts: list[int], prompt_of_rollout: list[int]) -> Layout:
    """Prompts are padded on the left, rollouts on the right, as TRL does it, and with a column that all lack."""
    places = torch.arange(max(prompts) + 1)
    is_prompt = places >= (max(prompts) + 1 - torch.tensor(prompts))[:, None]
    is_rollout = torch.arange(max(rollouts) + 1) < torch.tensor(rollouts)[:, None]
    return Layout.of(is_prompt, is_rollout, torch.tensor(prompt_of_rollout))


@pytest.mark.parametrize(("prompts", "rollouts", "prompt_of_rollout"), CASES.values(), ids=CASES)
def test_each_rollout_sees_its_prompt_and_itself(
    prompts: list[int], rollouts: list[int], prompt_of_rollout: list[int]
) -> None:
    torch.manual_seed(0)
    tokens = sum(prompts) + sum(rollouts)
    query, key, value = (
        torch.randn(1, heads, tokens, WIDTH, requires_grad=True) for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    packed, _ = attend(LAYER, query, key, value, layout(prompts, rollouts, prompt_of_rollout), scaling=0.3)
    alone = torch.cat(
        [part.transpose(1, 2) for part in _alone(query, key, value, prompts, rollouts, prompt_of_rollout)],
        dim=1,
    )
    torch.testing.assert_close(packed, alone)
    weights = torch.randn_like(packed)
    for one, other in zip(
        torch.autograd.grad((packed * weights).sum(), (query, key, value)),
        torch.autograd.grad((alone * weights).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def _alone(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    prompts: list[int],
    rollouts: list[int],
    prompt_of_rollout: list[int],
) -> list[torch.Tensor]:
    """The causal attention of each prompt, and of each rollout after its prompt, (1, heads, its tokens, width)."""
    whole = (query, key, value)
    of_prompt = [torch.split(x[:, :, : sum(prompts)], prompts, dim=2) for x in whole]
    of_rollout = [torch.split(x[:, :, sum(prompts) :], rollouts, dim=2) for x in whole]
    parts = [_causal(*(part[index] for part in of_prompt)) for index in range(len(prompts))]
    for index, prompt in enumerate(prompt_of_rollout):
        both = [
            torch.cat([first[prompt], following[index]], dim=2)
            for first, following in zip(of_prompt, of_rollout, strict=True)
        ]
        parts.append(_causal(*both)[:, :, prompts[prompt] :])
    return parts


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    groups = HEADS // KEY_HEADS
    return scaled_dot_product_attention(
        query,
        key.repeat_interleave(groups, dim=1),
        value.repeat_interleave(groups, dim=1),
        is_causal=True,
        scale=0.3,
    )
