"""open-instruct: `install(grpo_fast)` before `grpo_fast.main`.

The server and its config are given, or are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG in the
processes that sample. These must be able to import this module.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from open_instruct.ground_truth_utils import RewardConfig

from ireasoner.clients.reward_service import RewardService, means
from ireasoner.clients.wire import Config

Scored = tuple[list[float], dict[str, Any]]
RewardFn = Callable[..., Awaitable[Scored]]


@dataclass
class AgreementRewardConfig(RewardConfig):  # type: ignore[misc]
    """What open-instruct sends to its vLLM actors, each of which builds the reward function.

    `scale` multiplies the reward, which is in [0, 1]: open-instruct's verification rewards are 0 or 10.
    """

    url: str | None = None
    config: Config | None = None
    scale: float = 1.0

    def build(self) -> RewardFn:
        """A function that is called once a group; it raises a RewardError."""
        service = RewardService.configured(self.url, self.config)

        async def reward_fn(
            responses: Sequence[Any], decoded_responses: Sequence[str], *_: Any, **__: Any
        ) -> Scored:
            judged = (await service.score_async([decoded_responses]))[0]
            metrics = {f"objective/agreement_{name}": value for name, value in means(judged).items()}
            return [self.scale * each.neutral for each in judged], metrics

        return reward_fn


def install(
    trainer: ModuleType, url: str | None = None, config: Config | None = None, scale: float = 1.0
) -> None:
    """Has `open_instruct.grpo_fast` or `open_instruct.grpo` make our config where it makes a `RewardConfig`.

    Raises ValueError if the module makes none, or another's.
    """
    if getattr(trainer, "RewardConfig", None) is not RewardConfig:
        raise ValueError(f"{trainer.__name__} does not make open-instruct's RewardConfig")
    trainer.RewardConfig = partial(  # type: ignore[attr-defined]
        AgreementRewardConfig, url=url, config=config, scale=scale
    )
