"""SkyRL: `ireasoner.clients.skyrl_reward.AgreementGenerator` scores trajectories by prompt. Written for skyrl 0.3.

Return one from `get_generator` of your `BasePPOExp`. It replaces the reward of the environment, which then only
decides when an episode ends.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from loguru import logger
from skyrl.train.generators.skyrl_gym_generator import SkyRLGymGenerator

from ireasoner.clients.batches import gathered
from ireasoner.clients.framework_context import read_context
from ireasoner.clients.judged import means
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.wire import Config


class AgreementGenerator(SkyRLGymGenerator):  # type: ignore[misc]
    """Samples as SkyRL does, and scores the trajectories of one `instance_id` together.

    Args:
        args: Those of `SkyRLGymGenerator`.
        reward_url: The reward server; for the defaults see `RewardService.configured`.
        reward_config: The name of a config, or overrides on one.
        kwargs: Those of `SkyRLGymGenerator`.
    """

    def __init__(
        self, *args: Any, reward_url: str | None = None, reward_config: Config | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._service = RewardService.configured(reward_url, reward_config, warn=logger.warning)

    async def generate(self, input_batch: Any, disable_tqdm: bool = False) -> Any:
        """Returns SkyRL's output with our rewards, in the shape of SkyRL's own. Raises RewardError.

        If SkyRL uses one reward per token, ours is that of the last token; a response without tokens has none.
        Step-wise trajectories consist of several rows each and raise ValueError.
        """
        output = await super().generate(input_batch, disable_tqdm=disable_tqdm)
        identities = input_batch["trajectory_ids"]
        if len(output["rewards"]) != len(identities):
            raise ValueError(
                "step_wise_trajectories is on: a row is not a whole trajectory and cannot be scored"
            )
        texts = [self.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in output["response_ids"]]
        groups = gathered([identity.instance_id for identity in identities])
        scored = await self._service.score_async(
            [[texts[index] for index in group] for group in groups],
            contexts=[read_context(_context, input_batch, group[0]) for group in groups],
        )
        for group, judged in zip(groups, scored, strict=True):
            for index, each in zip(group, judged, strict=True):
                shape = output["rewards"][index]
                if isinstance(shape, list):
                    shape[:] = [*[0.0] * (len(shape) - 1), each.neutral][: len(shape)]
                else:
                    output["rewards"][index] = each.neutral
        charted = {f"agreement/{name}": value for name, value in means(chain.from_iterable(scored)).items()}
        output["rollout_metrics"] = {**(output.get("rollout_metrics") or {}), **charted}
        return output


def _context(batch: Mapping[str, Any], row: int) -> dict[str, Any]:
    extras = (batch.get("env_extras") or [{}] * (row + 1))[row]
    return {
        "prompt": batch["prompts"][row],
        "labels": extras.get("reward_spec") or extras,
        "update": getattr(batch.get("batch_metadata"), "global_step", None),
    }
