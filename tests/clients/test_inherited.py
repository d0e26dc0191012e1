"""Adapters, command and trainer get their rewards from the clients, and so their refusal of wrong answers."""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ireasoner.clients import BadAnswer, Fingerprints, RewardClient, ScoringChanged
from ireasoner.clients import reward_service as service
from ireasoner.clients.framework_context import NO_CONTEXT, Context
from ireasoner.clients.judged import Judged
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.score import main
from ireasoner.clients.sibling_groups import SiblingGroups
from ireasoner.clients.slime_reward import group_reward
from tests.clients.answers import Change, Json, put, swapped, twice, without, written
from tests.clients.lying_server import LyingServer, response

TEXTS = ["a", "b", "c"]
LIES: dict[str, Change] = {
    "swapped": swapped("groups", 0, "rollouts"),
    "more": twice("groups", 0, "rollouts"),
    "fewer": without("groups", 0, "rollouts", 0),
    "NaN": put(float("nan"), "groups", 0, "rollouts", 1, "reward"),
    "a string": put("0.625", "groups", 0, "rollouts", 1, "reward"),
    "null": put(None, "groups", 0, "rollouts", 1, "reward"),
    "a foreign group": put("0", "groups", 0, "id"),
}


@pytest.fixture(autouse=True)
def _run(liar: LyingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of its own, with the lying server as its reward server."""
    monkeypatch.setattr(service, "OF_THIS_PROCESS", Fingerprints())
    monkeypatch.setenv("IREASONER_REWARD_URL", liar.url)
    monkeypatch.setenv("IREASONER_REWARD_TIMEOUT_S", "10")


def by_service() -> list[float]:
    return [each.neutral for each in RewardService.configured().score([TEXTS])[0]]


def by_async_service() -> list[float]:
    return [each.neutral for each in asyncio.run(RewardService.configured().score_async([TEXTS]))[0]]


def by_slime() -> Any:
    samples = [SimpleNamespace(response=text) for text in TEXTS]
    return asyncio.run(group_reward(SimpleNamespace(), samples))


def by_siblings() -> list[float]:
    """As verl, OpenRLHF and AReaL do: rollouts end one by one, and every one gets its reward or the error."""

    async def score(texts: Sequence[str], _: Context) -> list[Judged]:
        return (await RewardService.configured().score_async([texts]))[0]

    async def one(groups: SiblingGroups, text: str) -> float:
        with groups.sampling("prompt") as judge:
            await asyncio.sleep(0)  # until all are being sampled
            return (await judge(text, NO_CONTEXT)).neutral

    async def run() -> list[float]:
        groups = SiblingGroups(score, 60, len(TEXTS))
        ended = await asyncio.gather(*(one(groups, text) for text in TEXTS), return_exceptions=True)
        failed = [each for each in ended if isinstance(each, BaseException)]
        if failed:
            assert len(failed) == len(TEXTS)
            raise failed[0]
        return [each for each in ended if isinstance(each, float)]

    return asyncio.run(run())


def by_trl() -> Any:
    return _over_ranks(1)()


def by_trl_on_two_ranks() -> Any:
    return _over_ranks(2)()[: len(TEXTS)]


def _over_ranks(count: int, name: str = "GroupReward") -> Callable[[], Any]:
    """A reward function of TRL on the first of `count` ranks, with a stand-in for accelerate; no other has rows."""
    device = SimpleNamespace(type="cpu")
    state = SimpleNamespace(num_processes=count, is_main_process=True, process_index=0, device=device)
    stand_in, tools = ModuleType("accelerate"), ModuleType("accelerate.utils")
    stand_in.PartialState = lambda: state  # type: ignore[attr-defined]
    tools.gather_object = lambda rows: [*rows, *[[]] * (count - 1)]  # type: ignore[attr-defined]
    tools.broadcast_object_list = lambda _: None  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "accelerate", stand_in)
        patch.setitem(sys.modules, "accelerate.utils", tools)
        for module in ("ranks", "trl_reward"):
            patch.delitem(sys.modules, f"ireasoner.clients.{module}", raising=False)
        reward = getattr(importlib.import_module("ireasoner.clients.trl_reward"), name)(len(TEXTS))
        for module in ("ranks", "trl_reward"):
            del sys.modules[f"ireasoner.clients.{module}"]  # the next importer gets accelerate's
    return lambda: reward(prompts=["q"] * len(TEXTS), completions=TEXTS)


def by_trl_async() -> Any:
    return asyncio.run(_over_ranks(1, "AsyncGroupReward")())


def by_trl_async_on_two_ranks() -> Any:
    return asyncio.run(_over_ranks(2, "AsyncGroupReward")())[: len(TEXTS)]


def by_trainer() -> list[float | None]:
    from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
    from ireasoner.trainer.rollouts.rollout import Rollout
    from ireasoner.trainer.settings import RewardSettings

    rollouts = [Rollout(text, (1,), (0.0,), (1,), "stop", "solver", 0) for text in TEXTS]
    with RewardClient(RewardService.configured().url, retry_budget_s=0) as client:
        posted = GroupToScore(rollouts, "How many?", lambda: b"a picture")
        [group] = GroupScorer(client, RewardSettings(), seed=0).score("solver", [posted], 0, 0.5)
    return [each.reward for each in group.rollouts]


ADAPTERS = [
    by_service,
    by_async_service,
    by_slime,
    by_siblings,
    by_trl,
    by_trl_on_two_ranks,
    by_trl_async,
    by_trl_async_on_two_ranks,
]


@pytest.mark.parametrize("adapter", [*ADAPTERS, by_trainer])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_adapter_refuses_a_wrong_answer(
    liar: LyingServer, adapter: Callable[[], Any], lie: Change
) -> None:
    liar.reply = lambda _, sent: [response(written(lie, sent))]
    with pytest.raises(BadAnswer, match=r"/score/solver: groups"):
        adapter()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_refuses_a_change_of_scoring(liar: LyingServer, adapter: Callable[[], Any]) -> None:
    now = ["a" * 16]
    liar.reply = lambda _, sent: [response(written(put(now[0], "fingerprint"), sent))]
    assert adapter() == [0.625] * len(TEXTS)
    now[0] = "b" * 16
    with pytest.raises(ScoringChanged):
        adapter()


def replaying(_: str, sent: Json) -> list[bytes]:
    """Repeats the answer to the first request, as a cache or a proxy that mixes up responses might."""
    FIRST_ANSWER.append(written(put(0.625, "groups", 0, "density"), sent))
    return [response(FIRST_ANSWER[0])]


FIRST_ANSWER: list[bytes] = []


@pytest.mark.parametrize("caller", [*ADAPTERS, by_trainer])
def test_the_answer_to_another_call_is_refused(liar: LyingServer, caller: Callable[[], Any]) -> None:
    """Frameworks' rollouts have no ids, and the trainer's repeat in every update: each call gets ids of its own."""
    FIRST_ANSWER.clear()
    liar.reply = replaying
    caller()
    with pytest.raises(BadAnswer, match="was sent at this index"):
        caller()


@pytest.mark.parametrize("body", [b"{}", b'{"reward": 0.5}', b"0.5", b"", b'{"reward": NaN}', b"[" * 99_999])
def test_a_cohort_refuses_a_wrong_answer(liar: LyingServer, body: bytes) -> None:
    liar.reply = lambda *_: [response(body)]
    with pytest.raises(BadAnswer, match=r"/cohort/remote\?group_size=3"):
        asyncio.run(RewardService.configured().score_in_cohort("uid", "text", 3, 1.0))


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_the_command_refuses_a_wrong_answer(
    liar: LyingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], lie: Change
) -> None:
    liar.reply = lambda _, sent: [response(written(lie, sent))]
    groups, scores = tmp_path / "groups.jsonl", tmp_path / "scores.jsonl"
    groups.write_text(json.dumps({"id": "q", "rollouts": [{"id": text, "text": text} for text in TEXTS]}))
    assert main([str(groups), "--url", liar.url, "--output", str(scores)]) == 1
    assert capsys.readouterr().err.startswith(f"reward-score: {liar.url}/score/solver: groups")
    assert list(tmp_path.iterdir()) == [groups]
