"""verl: `ireasoner.clients.verl_reward.AgreementAgentLoop`, or the reward manager in this file. Written for 0.9.

The agent loop is the better choice: it sends one request per group. `CohortRewardManager` is for runs with another
agent loop; verl loads it from a path: `python -c "import ireasoner.clients; print(ireasoner.clients.__path__[0])"`.
IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG are the server and its config. A finished sample waits for the others
of its prompt for at most IREASONER_GROUP_WAIT_S seconds (3,600).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import Context, read_context
from ireasoner.clients.judged import Judged
from ireasoner.clients.reward_service import (
    GROUP_WAIT_S,
    GROUP_WAIT_VARIABLE,
    RewardService,
    environment_seconds,
)
from ireasoner.clients.sibling_groups import SiblingGroups

WAIT_S = environment_seconds(GROUP_WAIT_VARIABLE, GROUP_WAIT_S)


@cache
def _groups(n: int, n_val: int, run: str | None) -> SiblingGroups:
    """The groups of this process: verl creates one agent loop per sample, all on one event loop."""

    async def score(texts: Sequence[str], context: Context) -> list[Judged]:
        if len(texts) not in (n, n_val):
            raise ValueError(
                f"groups are split: this worker has {len(texts)} samples of a uid, but rollout.n is {n} and "
                f"val_kwargs.n is {n_val}; the prompts per batch must be a multiple of rollout.agent.num_workers"
            )
        service = RewardService.configured(warn=ToLogger("verl")).called(run)
        return (await service.score_async([texts], contexts=[context]))[0]

    return SiblingGroups(score, WAIT_S)


class AgreementAgentLoop(SingleTurnAgentLoop):  # type: ignore[misc]
    """Samples as verl does, and scores the samples of each `uid` together. Raises RewardError.

    A group whose size is neither `rollout.n` nor `rollout.val_kwargs.n` was split over workers: ValueError.
    """

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Returns one sample with its reward and the parts of the reward."""
        rollout = self.config.actor_rollout_ref.rollout
        groups = _groups(rollout.n, rollout.val_kwargs.n, _run_name(self.config))
        with groups.sampling(kwargs["uid"]) as judge:
            output = await super().run(sampling_params, **kwargs)
            text = self.tokenizer.decode(output.response_ids, skip_special_tokens=True)
            step = output.extra_fields.get("global_steps")
            judged = await judge(text, read_context(_context, kwargs, step))
        output.reward_score = judged.neutral
        output.extra_fields["reward_extra_info"] = dict(judged.metrics)
        return output


class CohortRewardManager(RewardManagerBase):  # type: ignore[misc]
    """Sends one request per sample; the server holds it until all samples of its `uid` have arrived.

    verl does not mark validation samples: unless `val_kwargs.n` is `rollout.n`, this raises ValueError.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        rollout = config.actor_rollout_ref.rollout
        if rollout.val_kwargs.n != rollout.n:
            raise ValueError(
                f"rollout.val_kwargs.n is {rollout.val_kwargs.n}; set it to rollout.n, {rollout.n}"
            )
        self._group_size = rollout.n
        self._service = RewardService.configured(warn=ToLogger("verl")).called(_run_name(config))

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Returns the reward of one row and its parts. Raises RewardError."""
        row = data[-1:][0]
        responses = row.batch["responses"]
        length = row.batch["attention_mask"][-responses.shape[-1] :].sum()
        text = self.tokenizer.decode(responses[:length], skip_special_tokens=True)
        uid = str(row.non_tensor_batch["uid"])
        context = read_context(_context, row.non_tensor_batch)
        answer = await self._service.score_in_cohort(uid, text, self._group_size, WAIT_S, context)
        return {"reward_score": answer.pop("reward"), "reward_extra_info": answer}


def _run_name(config: Any) -> str | None:
    name = getattr(getattr(config, "trainer", None), "experiment_name", None)
    return name if isinstance(name, str) else None


def _context(columns: Mapping[str, Any], update: object = None) -> dict[str, Any]:
    return {"prompt": columns.get("raw_prompt"), "labels": columns.get("reward_model"), "update": update}
