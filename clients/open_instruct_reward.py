"""open-instruct: `import clients.open_instruct_reward` and call `install()` before `grpo_fast.main`.

The server and its config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG, or are given.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from clients.reward_service import RewardService, means
from clients.wire import Config

Scored = tuple[list[float], dict[str, Any]]
RewardFn = Callable[..., Awaitable[Scored]]


def agreement(url: str | None = None, config: Config | None = None, scale: float = 1.0) -> RewardFn:
    """A reward function as `RewardConfig.build()` makes it, which is called once a group.

    `scale` multiplies the reward, which is in [0, 1]: open-instruct's verification rewards are 0 or 10.
    """
    service = RewardService.configured(url, config)

    async def reward_fn(
        responses: Sequence[Any], decoded_responses: Sequence[str], *_: Any, **__: Any
    ) -> Scored:
        judged = (await service.score_async([decoded_responses]))[0]
        metrics = {f"objective/agreement_{name}": value for name, value in means(judged).items()}
        return [scale * each.neutral for each in judged], metrics

    return reward_fn


def install(url: str | None = None, config: Config | None = None, scale: float = 1.0) -> None:
    """Has every `RewardConfig` of this process build our reward function."""
    from open_instruct.ground_truth_utils import RewardConfig

    RewardConfig.build = lambda self: agreement(url, config, scale)
