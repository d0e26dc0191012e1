"""verl: an agent loop that scores whole groups, and a reward manager on the cohort endpoint. Written for 0.9.

The agent loop is the better one: all samples of a prompt are in one process, which makes one request of them.
The manager serves where the agent loop is another. The server and its config are read from
IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG. IREASONER_GROUP_WAIT_S is the most that a sample waits for the
others of its prompt once it has ended, 3,600 s by default: as long as the longest response may take.
"""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from ireasoner.clients.reward_service import Judged, RewardService
from ireasoner.clients.sibling_groups import SiblingGroups

GROUP_WAIT_S = float(os.environ.get("IREASONER_GROUP_WAIT_S", "3600"))


@cache
def _groups(n: int, n_val: int) -> SiblingGroups:
    """The groups of this process: verl makes an agent loop a sample, all on one event loop."""

    async def score(texts: Sequence[str]) -> list[Judged]:
        if len(texts) not in (n, n_val):
            raise ValueError(
                f"groups are split: this worker has {len(texts)} samples of a uid, where rollout.n is {n} and "
                f"val_kwargs.n is {n_val}; prompts a batch must be a multiple of rollout.agent.num_workers"
            )
        return (await RewardService.configured().score_async([texts]))[0]

    return SiblingGroups(score, GROUP_WAIT_S)


class AgreementAgentLoop(SingleTurnAgentLoop):  # type: ignore[misc]
    """Samples as verl does, and has the samples of each `uid` scored together. Raises a RewardError.

    A group whose size is neither `rollout.n` nor `rollout.val_kwargs.n` is a ValueError: verl hands its workers
    equally many rows, which may split a group.
    """

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """One sample, with its reward and the reward's parts."""
        rollout = self.config.actor_rollout_ref.rollout
        with _groups(rollout.n, rollout.val_kwargs.n).sampling(kwargs["uid"]) as judge:
            output = await super().run(sampling_params, **kwargs)
            judged = await judge(self.tokenizer.decode(output.response_ids, skip_special_tokens=True))
        output.reward_score = judged.neutral
        output.extra_fields["reward_extra_info"] = dict(judged.metrics)
        return output


class CohortRewardManager(RewardManagerBase):  # type: ignore[misc]
    """One request a sample; the reward server holds it until the other samples of its `uid` are there.

    verl does not say which samples are of a validation: `val_kwargs.n` must be `rollout.n`, or ValueError.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        rollout = config.actor_rollout_ref.rollout
        if rollout.val_kwargs.n != rollout.n:
            raise ValueError(f"set rollout.val_kwargs.n, {rollout.val_kwargs.n}, to rollout.n, {rollout.n}")
        self._group_size = rollout.n
        self._service = RewardService.configured()

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward of one row and its parts. Raises a RewardError."""
        row = data[-1:][0]
        responses = row.batch["responses"]
        length = row.batch["attention_mask"][-responses.shape[-1] :].sum()
        text = self.tokenizer.decode(responses[:length], skip_special_tokens=True)
        uid = str(row.non_tensor_batch["uid"])
        answer = await self._service.score_in_cohort(uid, text, self._group_size, GROUP_WAIT_S)
        return {"reward_score": answer.pop("reward"), "reward_extra_info": answer}
