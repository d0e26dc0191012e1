"""EasyR1: `worker.reward.reward_function=FILE:compute_score`, where FILE is this file. Written for July 2026.

    python -c "import ireasoner.clients; print(ireasoner.clients.__path__[0] + '/easyr1_reward.py')"

EasyR1 gives a reward function responses and the data's answers, in any order, and no prompts. So `data.answer_key` must
name a column that is different for every prompt, such as an id; the reward needs no answers. Server and config are read
from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ireasoner.clients.batches import SplitGroups, gathered
from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import Context
from ireasoner.clients.reward_service import RewardService

REWARD_NAME = "agreement"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]], group_size: int, group_size_eval: int = 1
) -> list[dict[str, float]]:
    """Returns the reward of each response as `overall`, and its parts.

    `group_size` is `worker.rollout.n`, and `group_size_eval` the `n` of `worker.rollout.val_override_config`; give both
    in `worker.reward.reward_function_kwargs`. Raises RewardError, or SplitGroups if an answer's responses are not one
    group.
    """
    groups = gathered([str(each["ground_truth"]) for each in reward_inputs])
    sizes = {group_size, group_size_eval}
    if odd := {len(group) for group in groups} - sizes:
        raise SplitGroups(
            f"{max(odd)} responses have one answer, and a group has {group_size}: data.answer_key must name a column "
            "that is different for every prompt"
        )
    scored = RewardService.configured(warn=ToLogger("verl")).score(
        [[str(reward_inputs[index]["response"]) for index in group] for group in groups],
        contexts=[Context(question=str(reward_inputs[group[0]]["ground_truth"])) for group in groups],
    )
    rewards: dict[int, dict[str, float]] = {
        index: {"overall": each.neutral, **each.metrics}
        for group, judged in zip(groups, scored, strict=True)
        for index, each in zip(group, judged, strict=True)
    }
    return [rewards[index] for index in range(len(reward_inputs))]
