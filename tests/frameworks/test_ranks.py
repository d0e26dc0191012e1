"""Groups that are split over ranks are scored whole, and an error on one rank is one on all: two real processes."""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ireasoner.clients import RewardError, ranks
from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.settings import RewardServerSettings
from tests.frameworks.conftest import Solver, run_script
from tests.frameworks.rank_calls import BATCHES, EXPERIMENTS, KINDS, OWN_CONFIG
from tests.frameworks.rollouts import GROUPS
from tests.reward_server.running import running


@pytest.fixture(scope="module")
def folder(compass_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ranks got."""
    made = tmp_path_factory.mktemp("ranks")
    run_script(sys.executable, "rank_calls", compass_url, str(made))
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def got(folder: Path, kind: str, case: str) -> list[Any]:
    """The rewards or the error of each rank."""
    return [json.loads((folder / f"{kind} {case} {rank}").read_text()) for rank in range(2)]


def test_split_groups_are_scored_whole(folder: Path, kind: str, solver: Solver) -> None:
    first, second = got(folder, kind, "split")
    assert first + second == [reward for texts in GROUPS.values() for reward in solver(texts)]


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("refused", "RequestRefused: "),
        ("unreachable", "Unreachable: "),
        ("unreadable", "RewardError: TypeError: "),
    ],
)
def test_an_error_on_one_rank_is_one_on_all(folder: Path, kind: str, case: str, error: str) -> None:
    first, second = got(folder, kind, case)
    assert first == second
    assert first.startswith(error)


def test_a_batch_that_is_given_up_is_so_on_all_ranks(folder: Path, kind: str) -> None:
    assert {reward for rank in got(folder, kind, "given up") for reward in rank} == {None}


OWN_CONFIGS = {
    "first": {"preset": "paper", "alpha": 2.0},
    "second": {"preset": "robust", "alpha": 0.3, "lambda_max": 0.9},
}
"""By experiment; both register theirs under one name."""


@pytest.mark.timeout(600)
def test_two_experiments_at_once_get_the_rewards_of_their_own_configs(
    compass: Path, tmp_path: Path, solver: Solver
) -> None:
    """On two ranks each, which split a group, with one server and the same rollouts."""
    tokens = tmp_path / "tokens"
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, tokens_file=tokens, host="127.0.0.1"
    )
    held = {name: add_token(tokens, name) for name in OWN_CONFIGS}
    expected = {
        name: [reward for texts in GROUPS.values() for reward in solver(texts, config=config)]
        for name, config in [*OWN_CONFIGS.items(), ("paper", "paper")]
    }
    assert len({str(rewards) for rewards in expected.values()}) == 3, "nothing tells the configs apart"
    with running(settings) as url, ThreadPoolExecutor(EXPERIMENTS) as pool:
        for name, token in held.items():
            registered = httpx.put(
                f"{url}/configs/{OWN_CONFIG}",
                json=OWN_CONFIGS[name],
                headers={"authorization": f"Bearer {token}"},
            )
            assert registered.is_success, registered.text
        ends = [
            pool.submit(
                run_script,
                sys.executable,
                "rank_calls",
                url,
                str(tmp_path),
                name,
                IREASONER_REWARD_TOKEN=token,
            )
            for name, token in held.items()
        ]
        for each in ends:
            each.result(300)
    for name in OWN_CONFIGS:
        ranks = [json.loads((tmp_path / f"{name} {rank}.json").read_text()) for rank in range(2)]
        for kind, configs in (("sync", [name]), ("async", [name]), ("two", [name, "paper"])):
            for batch in range(BATCHES):
                both = [rank[kind][batch] for rank in ranks]
                assert [first + second for first, second in zip(*both, strict=True)] == [
                    expected[config] for config in configs
                ]


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the first of two ranks exchanges with the other, which is not there."""
    done: list[str] = []

    def gather(rows: list[Any]) -> list[Any]:
        done.append(f"gather {rows[0][0]}")
        return [*rows, []]

    def broadcast(shared: list[Any]) -> None:
        done.append(f"share {shared[0]}")

    cpu = SimpleNamespace(type="cpu")
    state = SimpleNamespace(num_processes=2, is_main_process=True, process_index=0, device=cpu)
    monkeypatch.setattr(ranks, "PartialState", lambda: state)
    monkeypatch.setattr(ranks, "gather_object", gather)
    monkeypatch.setattr(ranks, "broadcast_object_list", broadcast)
    return done


def test_two_reward_functions_at_once_exchange_one_after_the_other(exchanges: list[str]) -> None:
    """The first takes longer to score."""

    async def work(rows: Any) -> Any:
        for _ in range(20 if rows == ["a"] else 1):
            await asyncio.sleep(0)
        return [f"reward of {row}" for row in rows]

    async def run() -> list[Any]:
        return [*await asyncio.gather(*(ranks.over_ranks_async(partial(list, name), work) for name in "abc"))]

    for _ in range(2):  # each on an event loop of its own
        assert asyncio.run(run()) == [["reward of a"], ["reward of b"], ["reward of c"]]
        whole = [[f"gather {name}", f"share ['reward of {name}']"] for name in "abc"]
        assert exchanges == [each for pair in whole for each in pair]
        exchanges.clear()


def test_a_cancelled_call_still_shares_with_the_other_ranks(exchanges: list[str]) -> None:
    async def run() -> None:
        scoring, may_end = asyncio.Event(), asyncio.Event()

        async def work(rows: Any) -> Any:
            scoring.set()
            await may_end.wait()
            return rows

        call = asyncio.create_task(ranks.over_ranks_async(lambda: ["a"], work))
        await scoring.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        may_end.set()
        assert await ranks.over_ranks_async(lambda: ["b"], work) == ["b"]

    asyncio.run(run())
    assert exchanges == ["gather a", "share ['a']", "gather b", "share ['b']"]


def test_work_that_is_cancelled_is_an_error_on_every_rank(exchanges: list[str]) -> None:
    async def work(_: Any) -> Any:
        raise asyncio.CancelledError

    with pytest.raises(RewardError, match="CancelledError"):
        asyncio.run(ranks.over_ranks_async(lambda: ["a"], work))
    assert exchanges == ["gather a", "share CancelledError: "]
