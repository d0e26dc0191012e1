"""ms-swift: `--external_plugins FILE --reward_funcs agreement`, where FILE is this file. Written for 4.6.

    python -c "import ireasoner.clients; print(ireasoner.clients.__path__[0] + '/swift_reward.py')"

Server and config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from swift.rewards import AsyncORM, orms

from ireasoner.clients.batches import progress_of, siblings
from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import cells, read_context
from ireasoner.clients.reward_service import RewardService

_ARGUMENTS = (
    "num_generations",
    "num_generations_eval",
    "per_device_train_batch_size",
    "steps_per_generation",
    "per_device_eval_batch_size",
)


class AgreementReward(AsyncORM):  # type: ignore[misc]
    """One reward per completion. Raises RewardError.

    ms-swift counts None as 0.0 in its sums, which would be a judgement. A rollout that the server abstained from
    therefore gets the mean of its group's others, and None only if nothing in the group was judged. A batch is never
    given up: with IREASONER_REWARD_GIVE_UP=none each call raises ValueError.

    A group is a run of rows with equal `prompt_id`, or with equal prompts if the trainer sets no id (Megatron, Ray).
    Groups must be whole on each rank, so per_device_train_batch_size * steps_per_generation must be a multiple of
    num_generations; otherwise every rank raises ValueError.
    """

    async def __call__(self, completions: Sequence[str], **kwargs: Any) -> list[float | None]:
        """Returns the rewards of one batch, in order. ms-swift runs each call in a new event loop."""
        groups = self._groups(_keys(len(completions), kwargs))
        progress = progress_of(kwargs.get("trainer_state"))
        service = RewardService.configured(warn=ToLogger("swift"))
        service = service.called(PurePath(getattr(self.args, "run_name", None) or "").name)
        scored = await service.score_async(
            [[completions[index] for index in group] for group in groups],
            progress,
            [read_context(_context, kwargs, group[0]) for group in groups],
        )
        judged = [each for group in scored for each in group]
        return [each.others if each.reward is None else each.reward for each in judged]

    def _groups(self, keys: Sequence[Hashable]) -> list[range]:
        """The indices of each group; a call does not say whether it belongs to training or to evaluation."""
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


def _context(columns: Mapping[str, Any], row: int) -> dict[str, Any]:
    return {
        "prompt": columns["messages"][row][:-1],
        **cells(columns, row, ["images"]),
        "labels": cells(columns, row),
        "update": getattr(columns.get("trainer_state"), "global_step", None),
    }


orms["agreement"] = AgreementReward
