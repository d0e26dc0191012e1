"""NeMo-Gym: `ireasoner.clients.nemo_gym_reward.AgreementServer`, a resources server. Written for 0.5.

Its app is two lines: import it, and call `AgreementServer.run_webserver()`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from nemo_gym.base_resources_server import (
    BaseMultiRewardVerifyResponse,
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym.judge import reraise_judge_errors
from pydantic import ConfigDict

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import read_context
from ireasoner.clients.reward_service import RewardService

__all__ = ["AgreementServer"]

_IDENTITIES = ("prompt_id", "_ng_task_index")
_LABELS = ("label", "expected_answer", "verifier_metadata")


class AgreementServerConfig(BaseResourcesServerConfig):  # type: ignore[misc]
    """Settings of `AgreementServer`.

    Attributes:
        REVERIFY_MODE: A rollout cannot be verified again without its siblings.
        group_size: Rollouts per task.
        deadline_s: Seconds that a rollout waits for its siblings; NeMo-Gym's own client has no time-out.
        reward_url: The reward server; for the defaults see `RewardService.configured`.
        reward_config: The name of a config, or overrides on one.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.UNSUPPORTED
    group_size: int
    deadline_s: float = 600.0
    reward_url: str | None = None
    reward_config: str | dict[str, object] | None = None


class AgreementRequest(BaseVerifyRequest):  # type: ignore[misc]
    """Keeps the fields by which siblings are known."""

    model_config = ConfigDict(extra="allow")


class AgreementResponse(BaseMultiRewardVerifyResponse):  # type: ignore[misc]
    """The request with its reward, the parts of the reward, and whether the sample is to be left out of the loss."""

    model_config = ConfigDict(extra="allow")
    mask_sample: bool = False


class AgreementServer(SimpleResourcesServer):  # type: ignore[misc]
    """Holds each rollout until its siblings have arrived, and rewards their agreement."""

    config: AgreementServerConfig

    async def verify(self, body: AgreementRequest) -> AgreementResponse:
        """The reward of one rollout.

        A rollout that could not be judged is masked. If no reward was available, the row becomes a failure of the class
        `judge_failed`, which is no reward of 0.
        """
        row = body.model_dump(mode="json")
        service = RewardService.configured(
            self.config.reward_url, self.config.reward_config, warn=ToLogger("nemo_gym")
        )
        answer = await reraise_judge_errors(
            service.score_in_cohort(
                _identity(row),
                _text(row["response"]),
                self.config.group_size,
                self.config.deadline_s,
                read_context(_context, row),
            )
        )
        return AgreementResponse(
            **row | {f"reward_{name}": value for name, value in answer.items() if name != "reward"},
            reward=answer["reward"],
            reward_components={part: answer[part] for part in ("outcome", "trajectory")},
            mask_sample=bool(answer["abstained"]),
        )


def _identity(row: Mapping[str, Any]) -> str:
    """Equal for siblings: the id of their prompt or task, else a hash of their input and label."""
    known = next((name for name in _IDENTITIES if row.get(name) is not None), None)
    if known:
        return f"{known} {row[known]}"
    same = [row["responses_create_params"].get("input"), [row.get(name) for name in _LABELS]]
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def _text(response: Mapping[str, Any]) -> str:
    """All output text of a response."""
    contents = [part for item in response["output"] for part in item.get("content") or []]
    return "".join(part["text"] for part in contents if isinstance(part.get("text"), str))


def _context(row: Mapping[str, Any]) -> dict[str, Any]:
    label = next((row[name] for name in _LABELS if row.get(name) is not None), None)
    return {"prompt": row["responses_create_params"].get("input"), "labels": label}
