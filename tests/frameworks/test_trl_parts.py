"""TRL's reward functions without TRL: parts that share one request, the event loop, and what they log."""

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ireasoner.clients import RequestRefused, Unreachable, async_client, codec, connection, sync_client, waits
from ireasoner.clients.trl_batch import Abstentions, abstentions
from ireasoner.clients.trl_components import rewards_of
from ireasoner.clients.trl_reward import AsyncGroupReward, GroupReward
from ireasoner.clients.wire import ScoreRequest
from tests.frameworks.conftest import Solver
from tests.frameworks.rollouts import GROUPS
from tests.reward_server.requests import rollout

TEXTS = next(iter(GROUPS.values()))
SIZE = len(TEXTS)
ABSTAINED = [rollout("7", "nowhere")] * SIZE
TRLS = "All reward functions returned None for the following kwargs:\n{'prompt': 'a very long prompt'}"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[ScoreRequest]:
    """The requests that are sent."""
    requests: list[ScoreRequest] = []

    def encode(request: ScoreRequest) -> bytes:
        requests.append(request)
        return codec.encode_request(request)

    for client in (sync_client, async_client):
        monkeypatch.setattr(client, "encode_request", encode)
    return requests


@pytest.fixture(autouse=True)
def _first_batch() -> Iterator[None]:
    """The process has said nothing yet."""
    before = copy.copy(vars(abstentions))
    vars(abstentions).update(vars(Abstentions()))
    yield
    vars(abstentions).update(before)


@pytest.fixture
def parts(compass_http: Any) -> dict[str, list[float | None]]:
    """The parts of the rewards of `TEXTS`."""
    rollouts = [{"id": str(index), "text": text} for index, text in enumerate(TEXTS)]
    body = {"groups": [{"id": "g", "rollouts": rollouts}]}
    scored = compass_http.post("/score/solver", json=body).json()["groups"][0]["rollouts"]
    return {part: [each[part] for each in scored] for part in ("outcome", "trajectory")}


def test_parts_share_one_request_per_batch(
    compass_url: str, sent: list[ScoreRequest], parts: dict[str, list[float | None]]
) -> None:
    charts: list[str] = []
    functions = GroupReward(SIZE, compass_url).components()
    assert [each.__name__ for each in functions] == ["agreement_outcome", "agreement_trajectory"]
    for batch in range(3):
        prompts, texts = ["q"] * SIZE, list(TEXTS)
        log = {"log_metric": lambda name, _: charts.append(name)}
        got = [each(prompts=prompts, completions=texts, completion_ids=[], **log) for each in functions]
        assert got == [*parts.values()]
        assert len(sent) == batch + 1
    assert charts.count("agreement/outcome") == 3, "a batch is logged once"


def test_parts_of_several_batches_at_a_time_keep_apart(
    compass_url: str, sent: list[ScoreRequest], parts: dict[str, list[float | None]]
) -> None:
    """AsyncGRPO calls synchronous functions in threads, for several groups at a time."""
    functions = pickle.loads(pickle.dumps(GroupReward(SIZE, compass_url).components()))
    batches = [[*TEXTS], [*TEXTS[::-1]], [*TEXTS]]
    with ThreadPoolExecutor(6) as pool:
        called = [[pool.submit(each, ["q"] * SIZE, batch) for each in functions] for batch in batches]
        got = [[each.result(60) for each in several] for several in called]
    forward = [*parts.values()]
    assert got[0] == got[2] == forward
    assert [sorted(map(str, each)) for each in got[1]] == [sorted(map(str, each)) for each in forward]
    assert len(sent) == 3


def test_an_error_is_raised_by_every_part(compass_url: str) -> None:
    functions = GroupReward(SIZE, compass_url, config="nowhere").components()
    texts = list(TEXTS)
    for each in functions:
        with pytest.raises(RequestRefused):
            each(["q"] * SIZE, texts)


@pytest.mark.parametrize("kind", [GroupReward, AsyncGroupReward])
def test_a_part_that_the_config_does_not_have(compass_url: str, kind: type[GroupReward]) -> None:
    [function] = kind(SIZE, compass_url).components("consenus")

    async def call() -> Any:
        given = function(["q"] * SIZE, list(TEXTS))
        return given if isinstance(given, list) else await given

    with pytest.raises(ValueError, match="no part 'consenus'; it has consensus, length, outcome, trajectory"):
        asyncio.run(call())


def test_a_component_of_the_outcome_reward(compass_url: str) -> None:
    reward = GroupReward(SIZE, compass_url)
    texts = list(TEXTS)
    outcome, consensus = (each(["q"] * SIZE, texts) for each in reward.components("outcome", "consensus"))
    assert len(outcome) == len(consensus) == SIZE
    assert any(consensus)


def test_on_one_event_loop(
    compass_url: str, sent: list[ScoreRequest], solver: Solver, parts: dict[str, list[float | None]]
) -> None:
    """As TRL calls them: all functions of a batch at once, on a loop that outlasts the batch."""
    reward = AsyncGroupReward(SIZE, compass_url)
    functions = reward.components()

    async def batch() -> list[Any]:
        texts = list(TEXTS)
        return await asyncio.gather(*(each(prompts=["q"] * SIZE, completions=texts) for each in functions))

    async def training() -> list[Any]:
        return [await reward(["q"] * SIZE, TEXTS), await batch(), await batch()]

    assert asyncio.run(training()) == [solver(TEXTS), [*parts.values()], [*parts.values()]]
    assert len(sent) == 3
    assert asyncio.iscoroutinefunction(AsyncGroupReward.__call__)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_what_the_charts_and_the_table_show(compass_url: str, compass_http: Any, progress: float) -> None:
    charts: dict[str, float] = {}
    table: dict[str, list[Any]] = {}
    state = type("State", (), {"global_step": 100 * progress, "max_steps": 100})()
    GroupReward(SIZE, compass_url)(
        ["q"] * SIZE,
        TEXTS,
        trainer_state=state,
        log_metric=charts.__setitem__,
        log_extra=table.__setitem__,
    )
    rollouts = [{"id": str(index), "text": text} for index, text in enumerate(TEXTS)]
    body = {"groups": [{"id": "g", "rollouts": rollouts}], "progress": progress}
    scored = compass_http.post("/score/solver", json=body).json()
    [group] = scored["groups"]
    assert charts["agreement/entropy"] == pytest.approx(group["entropy_nats"])
    weight = {0.0: 0.0, 0.5: 0.2, 1.0: 0.7}[progress]
    assert charts["agreement/lambda"] == pytest.approx(weight)
    assert table["agreement_fingerprint"] == [scored["fingerprint"]] * SIZE
    assert table["agreement_answer"] == [each["answer"] for each in group["rollouts"]]
    steps = [[step["text"] for step in each["steps"]] for each in group["rollouts"]]
    assert table["agreement_steps"] == ["\n".join(each) for each in steps]
    assert json.dumps(table)


def test_abstentions_are_said_once_and_not_as_whole_prompts(
    compass_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """TRL warns in every batch, with a prompt and all columns of a row."""
    reward = GroupReward(SIZE, compass_url)
    trls = logging.getLogger("trl.trainer.grpo_trainer")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert reward(["q"] * SIZE, ABSTAINED) == [None] * SIZE
            trls.warning(TRLS)
            trls.warning(f"[RANK 0] {TRLS}")
        [record] = caplog.records
        assert record.name == "trl"
        assert f"abstained from {SIZE} of {SIZE} completions (" in record.getMessage()
        assert reward(["q"] * SIZE, list(GROUPS.values())[1]) != [None] * SIZE
        trls.warning(TRLS)
        trls.warning("something else")
    assert [each.getMessage() for each in caplog.records[1:]] == [TRLS, "something else"]


@pytest.mark.parametrize("kind", [GroupReward, AsyncGroupReward])
def test_giving_up(
    kind: type[GroupReward], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The time-out of an attempt does not end the retries; the budget does."""
    monkeypatch.setenv("IREASONER_REWARD_RETRY_BUDGET_S", "0.1")

    def rewards(give_up: Any) -> Any:
        given = kind(SIZE, "http://127.0.0.1:9", give_up=give_up)(["q"] * SIZE, TEXTS)
        return given if isinstance(given, list) else asyncio.run(given)

    with pytest.raises(Unreachable):
        rewards("raise")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert rewards("none") == [None] * SIZE
        logging.getLogger("trl.trainer.rloo_trainer").warning(TRLS)
    assert [each.getMessage().split(":")[0] for each in caplog.records] == ["this batch has no rewards"]
    monkeypatch.setenv("IREASONER_REWARD_GIVE_UP", "none")
    assert rewards(None) == [None] * SIZE


@pytest.mark.parametrize("kind", [GroupReward, AsyncGroupReward])
def test_waiting_is_said_in_the_log_of_trl(
    kind: type[GroupReward], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and then only after half a minute."""
    connection._reports.cache_clear()  # another test may have waited for this address a moment ago
    monkeypatch.setattr(waits, "QUIET_S", 0.05)
    monkeypatch.setenv("IREASONER_REWARD_RETRY_BUDGET_S", "0.6")
    reward: Any = kind(SIZE, "http://127.0.0.1:9")

    async def call() -> Any:
        given = reward(["q"] * SIZE, TEXTS)
        return given if isinstance(given, list) else await given

    with caplog.at_level(logging.WARNING), pytest.raises(Unreachable):
        asyncio.run(call())
    [record] = caplog.records
    assert record.name == "trl"
    assert record.getMessage().startswith("waiting for the reward server: http://127.0.0.1:9: no answer for ")


def test_rewards_of_nothing() -> None:
    assert rewards_of([None, None]) == rewards_of([None, None], "outcome") == [None, None]


@pytest.mark.parametrize("kind", [GroupReward, AsyncGroupReward])
def test_a_reward_can_be_sent_to_another_process(
    compass_url: str, solver: Solver, kind: type[GroupReward]
) -> None:
    """After it has been called, too: AsyncGRPO pickles it when training begins."""
    reward: Any = kind(SIZE, compass_url)

    async def called(function: Any) -> Any:
        given = function(["q"] * SIZE, TEXTS)
        return given if isinstance(given, list) else await given

    first = asyncio.run(called(reward))
    assert first == asyncio.run(called(pickle.loads(pickle.dumps(reward)))) == solver(TEXTS)
