"""AReaL: `ireasoner.clients.areal_reward.AgreementWorkflow` instead of `RLVRWorkflow`. Written for 1.0.

Set `group_size` in AReaL's rollout settings. AReaL's own reward functions time out after 15 s and then return 0, so
this workflow does not use them.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from areal import workflow_context
from areal.utils import stats_tracker
from areal.workflow.rlvr import RLVRWorkflow

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import Context, read_context
from ireasoner.clients.judged import Judged, means
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.sibling_groups import Judge, SiblingGroups
from ireasoner.clients.wire import Config


class AgreementWorkflow(RLVRWorkflow):  # type: ignore[misc]
    """Samples as AReaL does, and scores the episodes that share one `data` object together.

    Args:
        args: Those of `RLVRWorkflow` without `reward_fn`.
        reward_url: The reward server; for the defaults see `RewardService.configured`.
        reward_config: The name of a config, or overrides on one.
        group_wait_s: Seconds to wait for the rest of a group after its first rollout has ended.
        kwargs: Those of `RLVRWorkflow`.
    """

    def __init__(
        self,
        *args: Any,
        reward_url: str | None = None,
        reward_config: Config | None = None,
        group_wait_s: float = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(_not_called, *args, **kwargs)
        self._service = RewardService.configured(
            reward_url, reward_config, warn=ToLogger("AgreementWorkflow")
        )
        self._groups = SiblingGroups(self._score, group_wait_s)
        self._judge: ContextVar[Judge] = ContextVar("judge")

    async def _collect_samples(
        self, engine: Any, req: Any, prompt_str: str, task_data: dict[str, Any]
    ) -> tuple[Any, float]:
        with self._groups.sampling(id(task_data)) as judge:
            self._judge.set(judge)
            sample: tuple[Any, float] = await super()._collect_samples(engine, req, prompt_str, task_data)
        return sample

    async def _compute_rewards(self, resp: Any, prompt_str: str, task_data: dict[str, Any]) -> float:
        text = self.tokenizer.decode(resp.output_tokens, skip_special_tokens=True)
        judged = await self._judge.get()(text, read_context(_context, task_data, resp))
        reward = judged.neutral
        stats_tracker.get(workflow_context.stat_scope()).scalar(
            **{f"agreement/{name}": value for name, value in means([judged]).items()}
        )
        return reward

    async def _score(self, texts: Sequence[str], context: Context) -> list[Judged]:
        return (await self._service.score_async([texts], contexts=[context]))[0]


def _context(data: Mapping[str, Any], response: Any) -> dict[str, Any]:
    update = (response.output_versions or [None])[-1]
    return {"prompt": data.get("messages"), "images": data.get("images"), "labels": data, "update": update}


def _not_called(*_: Any, **__: Any) -> float:
    raise NotImplementedError("AgreementWorkflow computes rewards without reward_fn")
