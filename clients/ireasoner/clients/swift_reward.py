"""ms-swift: `--external_plugins .../clients/swift_reward.py --reward_funcs agreement`. Written for 4.6.

The server and its config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG.
"""

import json
from collections.abc import Hashable, Sequence
from typing import Any

from swift.rewards import AsyncORM, orms

from ireasoner.clients.reward_service import RewardService, progress_of, siblings

_ARGUMENTS = (
    "num_generations",
    "num_generations_eval",
    "per_device_train_batch_size",
    "steps_per_generation",
    "per_device_eval_batch_size",
)


class AgreementReward(AsyncORM):  # type: ignore[misc]
    """One reward a completion. Raises a RewardError.

    ms-swift adds None up as 0.0, which would be a judgement. So a rollout from which the server abstains gets
    the mean of its group's others, and None only where nothing in the group could be judged.

    Groups are rows of equal `prompt_id`, or where the trainer sets none (Megatron, Ray) of equal prompts.
    They must be whole on each rank, or every rank raises ValueError: per_device_train_batch_size *
    steps_per_generation must be a multiple of num_generations.
    """

    async def __call__(self, completions: Sequence[str], **kwargs: Any) -> list[float | None]:
        """The rewards of one batch, in order. Each call has an event loop, and so connections, of its own."""
        groups = self._groups(_keys(len(completions), kwargs))
        progress = progress_of(kwargs.get("trainer_state"))
        service = RewardService.configured()
        scored = await service.score_async(
            [[completions[index] for index in group] for group in groups], progress
        )
        judged = [each for group in scored for each in group]
        return [each.others if each.reward is None else each.reward for each in judged]

    def _groups(self, keys: Sequence[Hashable]) -> list[range]:
        """The positions of each group; no call says whether it is of the training or of an evaluation."""
        size, size_eval, batch, steps, batch_eval = (
            getattr(self.args, name, None) or 0 for name in _ARGUMENTS
        )
        if not size:
            return siblings(keys)
        kinds = [(size, batch * steps), (size_eval or size, batch_eval)]
        groups = siblings(keys, size, size_eval)
        cut = any(rows == len(keys) and rows % each for each, rows in kinds)
        if cut or any(len(group) not in (size, size_eval) for group in groups):
            raise ValueError(
                f"groups are split: this rank has {len(keys)} rows, and num_generations is {size}; its rows, "
                "per_device_train_batch_size * steps_per_generation (in evaluation per_device_eval_batch_size), "
                "must be a multiple of it (of num_generations_eval)"
            )
        return groups


def _keys(count: int, kwargs: dict[str, Any]) -> list[Hashable]:
    identities = kwargs.get("prompt_id") or []
    if len(identities) == count and all(identities):
        return list(identities)
    return [json.dumps(messages[:-1], default=str) for messages in kwargs["messages"]]


orms["agreement"] = AgreementReward
