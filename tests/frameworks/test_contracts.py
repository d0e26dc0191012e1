"""Frameworks that are unavailable from PyPI: our side of their contract, according to their sources.

These are slime, ROLL and open-instruct, and the protocol of NeMo-Gym. Its classes: test_nemo_gym. EasyR1: test_easyr1.
"""

import ast
import asyncio
import importlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import aiohttp
import httpx
import pytest
from pydantic import BaseModel

from ireasoner.clients import RequestRefused
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.slime_reward import group_reward
from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.settings import RewardServerSettings
from tests.frameworks.conftest import ADAPTERS, ROOT, Solver
from tests.frameworks.rollouts import DIALECTS, GROUPS, Dialect, neutral
from tests.reward_server.requests import rollout
from tests.reward_server.running import running
from tests.reward_server.test_cohorts import talk, waiting

TEXTS = next(iter(GROUPS.values()))
IN_EACH_DIALECT = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


@pytest.fixture(autouse=True)
def _server(compass_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREASONER_REWARD_URL", compass_url)


@pytest.fixture
def texts(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A group of the dialect, with the dialect's config in the environment."""
    monkeypatch.setenv("IREASONER_REWARD_CONFIG", dialect.config_text)
    return next(iter(dialect.groups.values()))


@pytest.fixture
def expected(texts: list[str], dialect: Dialect, solver: Solver) -> list[float]:
    """The rewards of `/score/solver` for the group, for a framework that needs numbers."""
    rewards = solver(texts, config=dialect.config)
    assert rewards.count(None) == 1
    assert len(set(rewards)) > 4
    return neutral(rewards)


@IN_EACH_DIALECT
def test_a_dialect_is_scored_like_the_papers_format(dialect: Dialect, solver: Solver) -> None:
    papers: dict[str, Any] = {"alpha": 0.7 if dialect.config == "paper" else 2.0}
    for prompt, texts in dialect.groups.items():
        assert solver(texts, config=dialect.config) == solver(GROUPS[prompt], config=papers)
        if dialect.config != "paper":
            assert set(solver(texts)) == {0.0}, "in the paper's format none of them is valid"


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(contents)
    return made


@IN_EACH_DIALECT
@pytest.mark.parametrize("key", [None, "reward"])
def test_slime_group_rm(texts: list[str], expected: list[float], key: str | None) -> None:
    samples = [SimpleNamespace(prompt="q", response=text, label="4", group_index=0) for text in texts]
    got: Any = asyncio.run(group_reward(SimpleNamespace(reward_key=key), samples, evaluation=False))
    assert [each[key] if key else each for each in got] == expected


@IN_EACH_DIALECT
def test_slime_remote_rm(compass_url: str, dialect: Dialect, texts: list[str], expected: list[float]) -> None:
    """One shared session and one call per sample, like in slime's `remote_rm`."""

    async def rewards(session: aiohttp.ClientSession, url: str) -> list[Any]:
        async def one(text: str) -> Any:
            body = {"prompt": "q", "response": text, "label": "4"}
            async with session.post(url, json=body) as response:
                response.raise_for_status()
                return await response.json()

        return await asyncio.gather(*(one(text) for text in texts))

    async def run() -> tuple[list[Any], list[Any]]:
        query: dict[str, Any] = {"group_size": len(texts), "config": dialect.config_text}
        address = f"{compass_url}/cohort/remote?{urlencode(query)}"
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64), timeout=timeout
        ) as session:
            return await rewards(session, address), await rewards(session, f"{address}&answer=number")

    full, numbers = asyncio.run(run())
    assert [each["reward"] for each in full] == numbers == expected


@IN_EACH_DIALECT
def test_nemo_gym(compass_url: str, dialect: Dialect, texts: list[str], expected: list[float]) -> None:
    """A resources server forwards one call per rollout, which comes back with its reward."""

    async def run() -> list[dict[str, Any]]:
        query: dict[str, Any] = {"group_size": len(texts), "config": dialect.config_text}
        async with httpx.AsyncClient(base_url=compass_url, timeout=60) as http:
            calls = []
            for text in texts:
                output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
                body = {"responses_create_params": {"input": "q"}, "response": {"output": output}}
                calls.append(http.post("/verify", params=query, json={**body, "_ng_task_index": 3}))
            return [response.json() for response in await asyncio.gather(*calls)]

    assert [each["reward"] for each in asyncio.run(run())] == expected


@IN_EACH_DIALECT
def test_roll(
    monkeypatch: pytest.MonkeyPatch, dialect: Dialect, texts: list[str], expected: list[float], solver: Solver
) -> None:
    """A worker receives a DataProto of rows, here of two prompts, and returns three tensors."""
    torch = pytest.importorskip("torch")

    class Worker:
        def __init__(self, worker_config: Any) -> None:
            self.worker_config = worker_config
            self.rank_info = SimpleNamespace(rank=0, world_size=1)

    def register(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    rows = [(prompt, text) for prompt, group in enumerate(dialect.groups.values()) for text in group]
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
        "roll.utils": module("roll.utils"),
        "roll.utils.logging": module("logging", get_logger=logging.getLogger),
    }
    for name, each in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, each)
    adapter = importlib.import_module("ireasoner.clients.roll_reward")
    del sys.modules["ireasoner.clients.roll_reward"]  # the next test brings its own stand-ins
    worker = adapter.AgreementRewardWorker(SimpleNamespace(model_args=None))
    batch = {
        "prompts": torch.tensor([[prompt, 7] for prompt, _ in rows]),
        "responses": torch.arange(len(rows))[:, None],
    }
    got = worker.compute_rewards(SimpleNamespace(batch=batch))
    for expand, level in ((True, 1), (False, 0)):
        modes = SimpleNamespace(is_num_return_sequences_expand=expand, generate_opt_level=level)
        with pytest.raises(ValueError, match="parts of groups"):
            worker.initialize(modes)
    worker.initialize(SimpleNamespace(is_num_return_sequences_expand=False, generate_opt_level=1))
    [_, second] = dialect.groups.values()
    expected = [*expected, *neutral(solver(second, config=dialect.config))]
    assert got["scores"].tolist() == got["response_level_rewards"].tolist()
    assert got["scores"].tolist() == torch.tensor(expected).tolist()
    assert got["token_level_rewards"].shape == batch["responses"].shape


def test_ms_swift_gets_no_none_that_it_would_count_as_zero(
    monkeypatch: pytest.MonkeyPatch, solver: Solver
) -> None:
    """It gets None only for a group that could not be judged at all."""

    class AsyncORM:
        def __init__(self, args: Any) -> None:
            self.args = args

    orms: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "swift", module("swift"))
    monkeypatch.setitem(sys.modules, "swift.rewards", module("rewards", AsyncORM=AsyncORM, orms=orms))
    importlib.import_module("ireasoner.clients.swift_reward")
    del sys.modules["ireasoner.clients.swift_reward"]
    size = len(TEXTS)
    call = orms["agreement"](SimpleNamespace(num_generations=size))(
        [*TEXTS, *[rollout("7", "nowhere")] * size], prompt_id=["a"] * size + ["b"] * size
    )
    assert asyncio.run(call) == [*neutral(solver(TEXTS)), *[None] * size]


class Trace:
    """An attempt, in the form of verifiers."""

    def __init__(self, last_reply: str, ok: bool = True) -> None:
        self.last_reply = last_reply
        self.ok = ok
        self.rewards: list[float] = []
        self.metrics: dict[str, float] = {}

    def record_reward(self, name: str, score: float, weight: float) -> None:
        self.rewards.append(score)

    def record_metrics(self, metrics: dict[str, float]) -> None:
        self.metrics.update(metrics)


def test_verifiers_does_not_score_failed_attempts(monkeypatch: pytest.MonkeyPatch, solver: Solver) -> None:
    class Env:
        def __class_getitem__(cls, config: Any) -> Any:
            return cls

    class Config(BaseModel):
        pass

    names = dict.fromkeys(("Task", "Agents", "Episode"))
    stand_in = module("verifiers.v1", Env=Env, EnvConfig=Config, AgentConfig=Config, **names)
    monkeypatch.setitem(sys.modules, "verifiers", module("verifiers", v1=stand_in))
    monkeypatch.setitem(sys.modules, "verifiers.v1", stand_in)
    environment = importlib.import_module("ireasoner.clients.verifiers_reward").AgreementEnv()
    del sys.modules["ireasoner.clients.verifiers_reward"]
    environment.config = SimpleNamespace(reward_url=None, reward_config=None, reward_weight=1.0)
    traces = [Trace(text) for text in TEXTS]
    failed = Trace("", ok=False)
    for episode in ([failed, *traces], [failed]):
        asyncio.run(environment.finalize(None, SimpleNamespace(traces=episode)))
    assert [trace.rewards for trace in traces] == [[reward] for reward in neutral(solver(TEXTS))]
    assert (failed.rewards, failed.metrics) == ([], {})


def test_verl_refuses_groups_that_are_split_over_workers(
    monkeypatch: pytest.MonkeyPatch, solver: Solver
) -> None:
    """The agent loop if this worker has too few samples of a prompt; the manager by its config."""

    class Manager:
        def __init__(self, config: Any, tokenizer: Any, compute_score: Any) -> None:
            pass

    class Loop:
        config = SimpleNamespace(
            actor_rollout_ref=SimpleNamespace(
                rollout=SimpleNamespace(n=len(TEXTS), val_kwargs=SimpleNamespace(n=2))
            )
        )
        tokenizer = SimpleNamespace(decode=lambda tokens, skip_special_tokens: TEXTS[tokens[0]])

        async def run(self, sampling_params: Any, sample: int, **_: Any) -> Any:
            await asyncio.sleep(0)
            return SimpleNamespace(response_ids=[sample], extra_fields={})

    agent_loop, manager = "verl.experimental.agent_loop", "verl.experimental.reward_loop.reward_manager"
    stand_ins: dict[str, dict[str, Any]] = {
        "verl": {},
        "verl.experimental": {},
        agent_loop: {},
        f"{agent_loop}.agent_loop": {"AgentLoopOutput": Any},
        f"{agent_loop}.single_turn_agent_loop": {"SingleTurnAgentLoop": Loop},
        "verl.experimental.reward_loop": {},
        manager: {},
        f"{manager}.base": {"RewardManagerBase": Manager},
    }
    for name, contents in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module(name, **contents))
    adapter = importlib.import_module("ireasoner.clients.verl_reward")
    del sys.modules["ireasoner.clients.verl_reward"]

    async def rewards(count: int) -> list[float]:
        samples = [adapter.AgreementAgentLoop().run({}, uid="u", sample=each) for each in range(count)]
        return [output.reward_score for output in await asyncio.gather(*samples)]

    for size in (len(TEXTS), 2):
        assert asyncio.run(rewards(size)) == neutral(solver(TEXTS[:size]))
    with pytest.raises(ValueError, match="groups are split: this worker has 4 samples of a uid"):
        asyncio.run(rewards(4))
    with pytest.raises(ValueError, match=r"rollout\.val_kwargs\.n is 2; set it to rollout\.n, 6"):
        adapter.CohortRewardManager(Loop.config, None)


def test_skyrl_keeps_one_reward_per_token(monkeypatch: pytest.MonkeyPatch, solver: Solver) -> None:
    """A row of rewards is as long as its response, which SkyRL checks, even if that has no tokens."""
    output: dict[str, Any] = {}

    class Generator:
        tokenizer = SimpleNamespace(decode=lambda tokens, skip_special_tokens: "".join(tokens))

        async def generate(self, input_batch: Any, disable_tqdm: bool = False) -> dict[str, Any]:
            return output

    monkeypatch.setitem(sys.modules, "loguru", module("loguru", logger=logging.getLogger()))
    above = ("skyrl", "skyrl.train", "skyrl.train.generators")
    for name in above:
        monkeypatch.setitem(sys.modules, name, module(name))
    stand_in = module("skyrl_gym_generator", SkyRLGymGenerator=Generator)
    monkeypatch.setitem(sys.modules, "skyrl.train.generators.skyrl_gym_generator", stand_in)
    generator = importlib.import_module("ireasoner.clients.skyrl_reward").AgreementGenerator()
    del sys.modules["ireasoner.clients.skyrl_reward"]
    texts = [*TEXTS, ""]
    output.update(response_ids=[[*text] for text in texts], rewards=[[9.0] * len(text) for text in texts])
    batch = {"trajectory_ids": [SimpleNamespace(instance_id="q")] * len(texts)}
    rows = asyncio.run(generator.generate(batch))["rewards"]
    assert [len(row) for row in rows] == [len(text) for text in texts]
    expected = neutral(solver(texts))
    assert [row[-1] for row in rows[:-1]] == expected[:-1]
    assert not any(any(row[:-1]) for row in rows)


OPEN_INSTRUCT = """
import dataclasses


@dataclasses.dataclass
class RewardConfig:
    verification_reward: float = 10.0

    def build(self):
        raise NotImplementedError
"""
ACTOR = """
import asyncio, json, pickle, sys

texts = json.loads(sys.argv[1])
reward_fn = pickle.load(sys.stdin.buffer).build()
each = len(texts)
call = reward_fn([[1]] * each, texts, [None] * each, ["d"] * each, ["stop"] * each, None, ["q"] * each)
print(json.dumps(asyncio.run(call)))
"""


@IN_EACH_DIALECT
def test_open_instruct(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dialect: Dialect, texts: list[str], expected: list[float]
) -> None:
    """The config is created in the trainer and sent to an actor, which builds it and calls it once per group."""
    from ray import cloudpickle

    package = tmp_path / "open_instruct"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "ground_truth_utils.py").write_text(OPEN_INSTRUCT)
    (package / "grpo_fast.py").write_text("from open_instruct.ground_truth_utils import RewardConfig\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("IREASONER_REWARD_CONFIG")
    trainer = importlib.import_module("open_instruct.grpo_fast")
    adapter = importlib.import_module("ireasoner.clients.open_instruct_reward")
    try:
        adapter.install(trainer, config=dialect.config, scale=2.0)
        sent = cloudpickle.dumps(trainer.RewardConfig(verification_reward=1.0))
        with pytest.raises(ValueError, match="does not use"):
            adapter.install(trainer)
    finally:
        for name in [each for each in sys.modules if each.startswith("open_instruct")]:
            del sys.modules[name]
        del sys.modules["ireasoner.clients.open_instruct_reward"]
    ended = subprocess.run(
        [sys.executable, "-c", ACTOR, json.dumps(texts)],
        input=sent,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    scores, metrics = json.loads(ended.stdout)
    assert scores == [2 * reward for reward in expected]
    assert metrics["objective/agreement_abstained"] == 1 / len(texts)


def test_each_adapter_is_one_short_file_with_a_page() -> None:
    adapters = sorted(ADAPTERS.glob("*_reward.py"))
    assert len(adapters) == 12
    for file in adapters:
        name = file.stem.removesuffix("_reward").replace("swift", "ms_swift")
        page = (ROOT / "docs" / "frameworks" / f"{name}.md").read_text()
        by_name, by_path = f"ireasoner.clients.{file.stem}", "ireasoner.clients.__path__[0]"
        assert by_name in page or (by_path in page and f"/{file.name}" in page), file
        docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
        assert by_name in docstring or by_path in docstring, file
    pages = {file.stem.replace("ms_", "") for file in (ROOT / "docs" / "frameworks").glob("*.md")}
    assert {file.stem.removesuffix("_reward") for file in adapters} <= pages
    assert {file.name: len(file.read_text().splitlines()) for file in adapters if _length(file) > 140} == {}


def test_the_page_lists_what_adapters_import() -> None:
    page = (ROOT / "docs" / "frameworks" / "README.md").read_text()
    shared = re.findall(r"^\| `(\w+)\.py` \| .* \| (.*) \|$", page, re.MULTILINE)
    listed = {name: _listed(adapters) for name, adapters in shared}
    used: dict[str, set[str]] = {}
    files = sorted(ADAPTERS.glob("*_reward.py"))
    for file in files:
        for name in re.findall(r"^from ireasoner\.clients\.(\w+) import", file.read_text(), re.MULTILINE):
            used.setdefault(name, set()).add(file.name)
    for types_alone in ("wire", "errors"):
        del used[types_alone]
    assert listed == used


def _listed(adapters: str) -> set[str]:
    """The files that a cell of the table names: `all`, `all but` some, or some."""
    named = set(re.findall(r"`(\w+\.py)`", adapters))
    return (
        {file.name for file in ADAPTERS.glob("*_reward.py")} - named if adapters.startswith("all") else named
    )


def _length(file: Path) -> int:
    return len(file.read_text().splitlines())


def test_a_token_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, compass: Path, tmp_path: Path, solver: Solver
) -> None:
    tokens = tmp_path / "tokens.txt"
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, tokens_file=tokens, host="127.0.0.1"
    )
    token = add_token(tokens, "mine")
    samples = [SimpleNamespace(response=text) for text in TEXTS]
    with running(settings) as url:
        monkeypatch.setenv("IREASONER_REWARD_URL", url)
        with pytest.raises(RequestRefused, match="unauthorized"):
            asyncio.run(group_reward(SimpleNamespace(), samples))
        monkeypatch.setenv("IREASONER_REWARD_TOKEN", token)
        assert asyncio.run(group_reward(SimpleNamespace(), samples)) == neutral(solver(TEXTS))


def test_a_cohort_that_cannot_be_judged_is_not_retried(compass: Path) -> None:
    """A retry cannot help, because it would hold the same rollouts."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)

    async def calls(url: str) -> list[Any]:
        service = RewardService(url)
        both = (service.score_in_cohort("uid", rollout("7", "nowhere"), 2, 60) for _ in range(2))
        return await asyncio.gather(*both, return_exceptions=True)

    with running(settings) as url:
        errors = asyncio.run(calls(url))
        shown = httpx.get(f"{url}/metrics").text
    assert [type(error) for error in errors] == [RequestRefused] * 2
    assert {error.code for error in errors} == {"not_judged"}
    requests = re.findall(r'^reward_requests_total\{.*route="/cohort/remote".*\} (\S+)$', shown, re.MULTILINE)
    assert [float(each) for each in requests] == [2.0]


def test_a_cohort_of_single_calls_survives_a_restart_of_the_server(
    monkeypatch: pytest.MonkeyPatch, compass: Path, solver: Solver
) -> None:
    """Calls like those of verl's reward manager; the server stops while a cohort waits for its last rollout."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    size = len(TEXTS)

    async def calls(texts: Sequence[str]) -> list[dict[str, float]]:
        service = RewardService.configured()
        return list(await asyncio.gather(*(service.score_in_cohort("uid", each, size, 60) for each in texts)))

    with ThreadPoolExecutor() as pool:
        with running(settings) as url:
            monkeypatch.setenv("IREASONER_REWARD_URL", url)
            early = pool.submit(asyncio.run, calls(TEXTS[:-1]))
            talk(url, lambda http: waiting(http, size - 1))
        with running(settings, port=httpx.URL(url).port):
            late = pool.submit(asyncio.run, calls(TEXTS[-1:]))
            got = [*early.result(60), *late.result(60)]
    assert [each["reward"] for each in got] == neutral(solver(TEXTS))
    assert {each["partial"] for each in got} == {0.0}
