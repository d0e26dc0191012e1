"""open-instruct: `ireasoner.clients.open_instruct_reward.install(grpo_fast)` before `grpo_fast.main`.

Server and config are arguments of `install`, or the variables IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG of the
sampling processes. The package must be installed for those processes, too.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from open_instruct.ground_truth_utils import RewardConfig

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import read_context
from ireasoner.clients.judged import means
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.wire import Config

Scored = tuple[list[float], dict[str, Any]]
RewardFn = Callable[..., Awaitable[Scored]]


@dataclass
class AgreementRewardConfig(RewardConfig):  # type: ignore[misc]
    """The config that open-instruct sends to its vLLM actors, each of which builds the reward function from it.

    `scale` multiplies the reward, which is in [0, 1]; open-instruct's verification rewards are 0 or 10.
    """

    url: str | None = None
    config: Config | None = None
    scale: float = 1.0

    def build(self) -> RewardFn:
        """Returns the reward function, which open-instruct calls once per group. It raises RewardError."""
        service = RewardService.configured(self.url, self.config, warn=ToLogger("open_instruct"))

        async def reward_fn(
            responses: Sequence[Any],
            decoded_responses: Sequence[str],
            ground_truths: Sequence[Any] = (),
            datasets: Any = None,
            finish_reasons: Any = None,
            infos: Any = None,
            queries: Sequence[str] = (),
            **_: Any,
        ) -> Scored:
            context = read_context(lambda: {"prompt": queries[0], "labels": ground_truths[0]})
            judged = (await service.score_async([decoded_responses], contexts=[context]))[0]
            metrics = {f"objective/agreement_{name}": value for name, value in means(judged).items()}
            return [self.scale * each.neutral for each in judged], metrics

        return reward_fn


def install(
    trainer: ModuleType, url: str | None = None, config: Config | None = None, scale: float = 1.0
) -> None:
    """Replaces `RewardConfig` in the module `open_instruct.grpo_fast` or `open_instruct.grpo` by our config.

    Raises ValueError if the module does not use open-instruct's `RewardConfig`.
    """
    if getattr(trainer, "RewardConfig", None) is not RewardConfig:
        raise ValueError(f"{trainer.__name__} does not use open-instruct's RewardConfig")
    trainer.RewardConfig = partial(  # type: ignore[attr-defined]
        AgreementRewardConfig, url=url, config=config, scale=scale
    )
