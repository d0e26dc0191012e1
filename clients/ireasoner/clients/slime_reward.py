"""slime: `--group-rm --custom-rm-path ireasoner.clients.slime_reward.group_reward`.

The server and its config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG. slime refuses
`--group-rm` for evaluation: give evaluation data a reward of its own.
"""

from collections.abc import Sequence
from typing import Any

from ireasoner.clients.reward_service import RewardService


async def group_reward(args: Any, samples: Sequence[Any], **_: Any) -> list[float] | list[dict[str, float]]:
    """The rewards of one group's samples, in order; with `--reward-key reward` also the reward's parts.

    Raises a RewardError.
    """
    texts = [sample.response for sample in samples]
    judged = (await RewardService.configured().score_async([texts]))[0]
    key = getattr(args, "reward_key", None)
    if key:
        return [{**each.metrics, key: each.neutral} for each in judged]
    return [each.neutral for each in judged]
