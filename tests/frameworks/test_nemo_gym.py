"""NeMo-Gym: our resources server on stand-ins for its classes, which are like those of 22 August 2026 (07d6b0d07)."""

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Iterator
from enum import StrEnum
from types import ModuleType
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from tests.frameworks.conftest import Solver
from tests.frameworks.rollouts import DIALECTS, GROUPS, Dialect, neutral
from tests.reward_server.requests import rollout

TEXTS = next(iter(GROUPS.values()))


class ReverifyMode(StrEnum):
    STATELESS = "stateless"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class JudgeError(Exception):
    """What becomes a row with the failure class `judge_failed`."""


async def reraise_judge_errors(coroutine: Awaitable[Any]) -> Any:
    try:
        return await coroutine
    except Exception as error:
        raise JudgeError(f"{type(error).__name__}: {error}") from error


class ServerConfig(BaseModel):
    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.UNKNOWN


class VerifyRequest(BaseModel):
    responses_create_params: dict[str, Any]
    response: dict[str, Any]


class MultiRewardVerifyResponse(VerifyRequest):
    reward: float
    reward_components: dict[str, float]


class Server:
    def __init__(self, config: Any) -> None:
        self.config = config


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    base, judge = ModuleType("nemo_gym.base_resources_server"), ModuleType("nemo_gym.judge")
    base.__dict__.update(
        BaseResourcesServerConfig=ServerConfig,
        BaseVerifyRequest=VerifyRequest,
        BaseMultiRewardVerifyResponse=MultiRewardVerifyResponse,
        ReverifyMode=ReverifyMode,
        SimpleResourcesServer=Server,
    )
    judge.__dict__["reraise_judge_errors"] = reraise_judge_errors
    for module in (ModuleType("nemo_gym"), base, judge):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield importlib.import_module("ireasoner.clients.nemo_gym_reward")
    del sys.modules["ireasoner.clients.nemo_gym_reward"]


def body(text: str, **fields: Any) -> dict[str, Any]:
    """A request with a rollout whose reasoning is no output text."""
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": text[:5]}]},
        {"type": "message", "content": [{"type": "output_text", "text": text[5:]}]},
    ]
    asked = {"responses_create_params": {"input": [{"role": "user", "content": "How many?"}]}}
    return {**asked, "response": {"output": output}, **fields}


def verified(adapter: Any, url: str, bodies: list[dict[str, Any]], **settings: Any) -> list[Any]:
    config = adapter.AgreementServerConfig(reward_url=url, deadline_s=30.0, **settings)
    server = adapter.AgreementServer(config)

    async def run() -> list[Any]:
        calls = (server.verify(adapter.AgreementRequest(**each)) for each in bodies)
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(run())


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("fields", [{"_ng_task_index": 3}, {"prompt_id": "p"}, {"expected_answer": "7"}, {}])
def test_siblings_get_the_rewards_of_score_solver(
    adapter: Any, compass_url: str, solver: Solver, dialect: Dialect, fields: dict[str, Any]
) -> None:
    texts = next(iter(dialect.groups.values()))
    bodies = [body(text, **fields) for text in texts]
    config = dialect.config if isinstance(dialect.config, str) else dict(dialect.config)
    got = verified(adapter, compass_url, bodies, group_size=len(texts), reward_config=config)
    rewards = solver(texts, config=dialect.config)
    assert [each.reward for each in got] == neutral(rewards)
    assert [each.mask_sample for each in got] == [each is None for each in rewards]
    for each, sent in zip(got, bodies, strict=True):
        answered = each.model_dump()
        assert {name: answered[name] for name in sent} == sent
        assert each.reward_components == {
            part: answered[f"reward_{part}"] for part in ("outcome", "trajectory")
        }


def test_two_tasks_are_two_groups(adapter: Any, compass_url: str, solver: Solver) -> None:
    first, second = GROUPS.values()
    bodies = [body(text, _ng_task_index=0) for text in first] + [
        body(text, _ng_task_index=1) for text in second
    ]
    got = verified(adapter, compass_url, bodies, group_size=6)
    assert [each.reward for each in got] == [*neutral(solver(first)), *neutral(solver(second))]


def test_what_cannot_be_judged_is_a_failure_and_no_reward(adapter: Any, compass_url: str) -> None:
    unclear = [body(rollout("7", "nowhere"), prompt_id="x")] * 2
    failed = verified(adapter, compass_url, unclear, group_size=2)
    assert [type(each) for each in failed] == [JudgeError] * 2
    assert "not_judged" in str(failed[0])


def test_an_unreachable_server_is_a_failure(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREASONER_REWARD_RETRY_BUDGET_S", "0")
    config = {"group_size": 1, "reward_url": "http://127.0.0.1:9", "deadline_s": 0.0}
    server = adapter.AgreementServer(adapter.AgreementServerConfig(**config))
    with pytest.raises(JudgeError, match="Unreachable"):
        asyncio.run(server.verify(adapter.AgreementRequest(**body("a"))))


def test_a_cohort_is_no_stateless_verifier(adapter: Any) -> None:
    assert adapter.AgreementServerConfig(group_size=2).REVERIFY_MODE is ReverifyMode.UNSUPPORTED
