"""verifiers: `ireasoner.clients.verifiers_reward.AgreementEnv`, whose episode is one group. Written for 0.4.

    --env.id agreement_env --env.n 8 --env.max-concurrent-agents 8 --env.taskset.id ...

Here `agreement_env` is a module of yours that imports `AgreementEnv`, because verifiers allows no dots in an id.
"""

import asyncio
from typing import Any

import verifiers.v1 as vf
from pydantic import Field

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import read_context
from ireasoner.clients.judged import means
from ireasoner.clients.reward_service import RewardService

__all__ = ["AgreementEnv"]


class AgreementEnvConfig(vf.EnvConfig):  # type: ignore[misc]
    """Settings of `AgreementEnv`."""

    agent: vf.AgentConfig = vf.AgentConfig()
    n: int = Field(8, ge=1, description="Attempts in one episode, scored together.")
    max_concurrent_agents: int = Field(8, description="Attempts sampled at a time; 1 is slow.")
    reward_url: str | None = Field(None, description="The reward server [IREASONER_REWARD_URL].")
    reward_config: str | dict[str, object] | None = Field(
        None, description="The name of a config, or overrides on one."
    )
    reward_weight: float = Field(1.0, description="Weight of this reward beside the task's own.")


class AgreementEnv(vf.Env[AgreementEnvConfig]):  # type: ignore[misc]
    """Attempts a task n times, and rewards each attempt for its agreement with the others."""

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        """Samples all attempts of one task."""
        async with asyncio.TaskGroup() as attempts:
            for _ in range(self.config.n):
                attempts.create_task(agents.agent.run(task))

    async def finalize(self, task: vf.Task, episode: vf.Episode) -> None:
        """Records the reward `agreement` and its parts. A RewardError fails the episode, which verifiers retries.

        Failed attempts are not rollouts: they are neither scored nor given a reward.
        """
        traces = [trace for trace in episode.traces if trace.ok]
        if not traces:
            return
        service = RewardService.configured(
            self.config.reward_url, self.config.reward_config, warn=ToLogger("verifiers")
        )
        texts, context = [trace.last_reply for trace in traces], read_context(_context, task)
        judged = (await service.score_async([texts], contexts=[context]))[0]
        for trace, each in zip(traces, judged, strict=True):
            trace.record_reward("agreement", each.neutral, self.config.reward_weight)
            trace.record_metrics({f"agreement_{name}": value for name, value in means([each]).items()})


def _context(task: vf.Task) -> dict[str, Any]:
    data = task.data.model_dump()  # its field `image` is a container's
    return {"prompt": data["prompt"], "labels": data}
