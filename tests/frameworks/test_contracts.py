"""Frameworks that cannot be had from PyPI: our side of their contract, as their sources have it.

slime, ROLL and open-instruct. NeMo-Gym's, which is HTTP alone, is in tests/reward_server/test_cohorts.py.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import pytest

from clients.slime_reward import group_reward
from tests.frameworks.conftest import ROOT, Solver
from tests.frameworks.rollouts import GROUPS

TEXTS = next(iter(GROUPS.values()))


@pytest.fixture(autouse=True)
def _server(compass_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREASONER_REWARD_URL", compass_url)


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(contents)
    return made


@pytest.mark.parametrize("key", [None, "reward"])
def test_slime_group_rm(solver: Solver, key: str | None) -> None:
    samples = [SimpleNamespace(prompt="q", response=text, label="4", group_index=0) for text in TEXTS]
    got: Any = asyncio.run(group_reward(SimpleNamespace(reward_key=key), samples, evaluation=False))
    assert [each[key] if key else each for each in got] == solver(TEXTS)


def test_slime_remote_rm(compass_url: str, solver: Solver) -> None:
    """One shared session, a call a sample, as in slime's `remote_rm`."""

    async def rewards(session: aiohttp.ClientSession, url: str) -> list[Any]:
        async def one(text: str) -> Any:
            body = {"prompt": "q", "response": text, "label": "4"}
            async with session.post(url, json=body) as response:
                response.raise_for_status()
                return await response.json()

        return await asyncio.gather(*(one(text) for text in TEXTS))

    async def run() -> tuple[list[Any], list[Any]]:
        address = f"{compass_url}/cohort/remote?group_size={len(TEXTS)}"
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64), timeout=timeout
        ) as session:
            return await rewards(session, address), await rewards(session, f"{address}&answer=number")

    full, numbers = asyncio.run(run())
    assert [each["reward"] for each in full] == numbers == solver(TEXTS)


def test_roll(monkeypatch: pytest.MonkeyPatch, solver: Solver) -> None:
    """A worker gets a DataProto of rows, here of two prompts, and gives three tensors."""
    torch = pytest.importorskip("torch")

    class Worker:
        def __init__(self, worker_config: Any) -> None:
            self.worker_config = worker_config
            self.rank_info = SimpleNamespace(rank=0, world_size=1)

    def register(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    rows = [(prompt, text) for prompt, texts in enumerate(GROUPS.values()) for text in texts]
    tokenizer = SimpleNamespace(
        batch_decode=lambda tokens, skip_special_tokens: [rows[int(row[0])][1] for row in tokens]
    )
    stand_ins = {
        "roll": module("roll"),
        "roll.distributed": module("roll.distributed"),
        "roll.distributed.executor": module("roll.distributed.executor"),
        "roll.distributed.executor.worker": module("worker", Worker=Worker),
        "roll.distributed.scheduler": module("roll.distributed.scheduler"),
        "roll.distributed.scheduler.decorator": module(
            "decorator", register=register, Dispatch=SimpleNamespace(ONE_TO_ALL=0, DP_MP_COMPUTE=1)
        ),
        "roll.distributed.scheduler.protocol": module(
            "protocol", DataProto=SimpleNamespace(from_dict=lambda tensors: tensors)
        ),
        "roll.models": module("roll.models"),
        "roll.models.model_providers": module(
            "model_providers", default_tokenizer_provider=lambda model_args: tokenizer
        ),
    }
    for name, each in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, each)
    adapter = importlib.import_module("clients.roll_reward")
    monkeypatch.delitem(sys.modules, "clients.roll_reward")
    worker = adapter.AgreementRewardWorker(SimpleNamespace(model_args=None))
    batch = {
        "prompts": torch.tensor([[prompt, 7] for prompt, _ in rows]),
        "responses": torch.arange(len(rows))[:, None],
    }
    got = worker.compute_rewards(SimpleNamespace(batch=batch))
    expected = [reward for texts in GROUPS.values() for reward in solver(texts)]
    assert got["scores"].tolist() == got["response_level_rewards"].tolist()
    assert got["scores"].tolist() == torch.tensor(expected).tolist()
    assert got["token_level_rewards"].shape == batch["responses"].shape


def test_open_instruct(monkeypatch: pytest.MonkeyPatch, solver: Solver) -> None:
    """`RewardConfig.build()` gives an async function that is called once a group, by keyword."""

    class RewardConfig:
        def build(self) -> Any:
            raise NotImplementedError

    utilities = module("open_instruct.ground_truth_utils", RewardConfig=RewardConfig)
    monkeypatch.setitem(sys.modules, "open_instruct", module("open_instruct"))
    monkeypatch.setitem(sys.modules, "open_instruct.ground_truth_utils", utilities)
    importlib.import_module("clients.open_instruct_reward").install(scale=1.0)
    call = RewardConfig().build()(
        responses=[[1]] * len(TEXTS),
        decoded_responses=TEXTS,
        ground_truths=[None] * len(TEXTS),
        datasets=["d"] * len(TEXTS),
        finish_reasons=["stop"] * len(TEXTS),
        infos=None,
        queries=None,
    )
    scores, metrics = asyncio.run(call)
    assert scores == solver(TEXTS)
    assert "objective/agreement_outcome" in metrics


def test_each_adapter_is_one_short_file_with_a_page() -> None:
    adapters = sorted((ROOT / "clients").glob("*_reward.py"))
    assert len(adapters) == 10
    pages = {file.stem.replace("ms_", "") for file in (ROOT / "docs" / "frameworks").glob("*.md")}
    assert {file.stem.removesuffix("_reward") for file in adapters} <= pages
    assert {file.name: len(file.read_text().splitlines()) for file in adapters if _length(file) > 80} == {}


def _length(file: Path) -> int:
    return len(file.read_text().splitlines())


def test_a_config_in_the_environment_may_be_an_object(
    monkeypatch: pytest.MonkeyPatch, solver: Solver
) -> None:
    config = {"preset": "paper", "alpha": 2.0}
    monkeypatch.setenv("IREASONER_REWARD_CONFIG", json.dumps(config))
    samples = [SimpleNamespace(response=text) for text in TEXTS]
    got = asyncio.run(group_reward(SimpleNamespace(), samples))
    assert got == solver(TEXTS, config=config)
