"""slime: `--group-rm --custom-rm-path ireasoner.clients.slime_reward.group_reward`.

Server and config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG. slime refuses `--group-rm` for
evaluation, so evaluation data needs another reward.
"""

from collections.abc import Sequence
from typing import Any

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import read_context
from ireasoner.clients.reward_service import RewardService


async def group_reward(args: Any, samples: Sequence[Any], **_: Any) -> list[float] | list[dict[str, float]]:
    """Returns the rewards of one group's samples, in order; with `--reward-key reward` also their parts.

    Raises RewardError.
    """
    texts = [sample.response for sample in samples]
    service = RewardService.configured(warn=ToLogger("slime")).called(getattr(args, "wandb_group", None))
    contexts = [read_context(_context, samples[0])]
    judged = (await service.score_async([texts], contexts=contexts))[0]
    key = getattr(args, "reward_key", None)
    if key:
        return [{**each.metrics, key: each.neutral} for each in judged]
    return [each.neutral for each in judged]


def _context(sample: Any) -> dict[str, Any]:
    return {
        "prompt": getattr(sample, "prompt", None),
        "images": (getattr(sample, "multimodal_inputs", None) or {}).get("images"),
        "labels": getattr(sample, "label", None),
        "update": (getattr(sample, "weight_versions", None) or [None])[-1],
    }
