"""slime: `--group-rm --custom-rm-path ireasoner.clients.slime_reward.group_reward`.

Server and config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG. slime refuses `--group-rm` for
evaluation, so evaluation data needs another reward.
"""

from collections.abc import Sequence
from typing import Any

from ireasoner.clients.reward_service import RewardService


async def group_reward(args: Any, samples: Sequence[Any], **_: Any) -> list[float] | list[dict[str, float]]:
    """Returns the rewards of one group's samples, in order; with `--reward-key reward` also their parts.

    Raises RewardError.
    """
    texts = [sample.response for sample in samples]
    judged = (await RewardService.configured().score_async([texts]))[0]
    key = getattr(args, "reward_key", None)
    if key:
        return [{**each.metrics, key: each.neutral} for each in judged]
    return [each.neutral for each in judged]
