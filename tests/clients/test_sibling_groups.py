"""Groups of rollouts that end one by one: which are scored together, and which are not waited for."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from ireasoner.clients.batches import gathered, siblings
from ireasoner.clients.errors import RewardError, Unreachable
from ireasoner.clients.framework_context import Context
from ireasoner.clients.judged import Judged, NotJudged
from ireasoner.clients.sibling_groups import SiblingGroups

Task = asyncio.Task[Judged]


class Scorer:
    """Returns the whole group as the answer of each rollout."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.contexts: list[Context] = []

    async def __call__(self, texts: Sequence[str], context: Context) -> list[Judged]:
        if self.error is not None:
            raise self.error
        self.contexts.append(context)
        return [Judged(1.0, "".join(texts), {}, 1.0)] * len(texts)


def run(conversation: Callable[[Scorer], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(conversation(Scorer()), 20))


def sample(groups: SiblingGroups, key: str, text: str, after_s: float = 0.0) -> "asyncio.Task[str | None]":
    async def one() -> str | None:
        with groups.sampling(key) as judge:
            await asyncio.sleep(after_s)
            if text == "fails":
                raise ValueError(text)
            return (await judge(text, Context(text))).answer

    return asyncio.create_task(one())


def test_a_group_is_whole_once_none_of_it_is_being_sampled() -> None:
    async def conversation(scorer: Scorer) -> None:
        groups = SiblingGroups(scorer, 60)
        calls = [sample(groups, "p", "a", 0.02), sample(groups, "p", "b"), sample(groups, "p", "c", 0.01)]
        calls.append(sample(groups, "q", "d"))
        assert await asyncio.gather(*calls) == ["bca", "bca", "bca", "d"]

    run(conversation)


def test_a_failed_rollout_is_not_waited_for() -> None:
    async def conversation(scorer: Scorer) -> None:
        groups = SiblingGroups(scorer, 60)
        calls = [sample(groups, "p", "a"), sample(groups, "p", "fails", 0.02)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert answers[0] == "a"
        assert isinstance(answers[1], ValueError)

    run(conversation)


def test_a_rollout_that_never_ends_does_not_hold_up_the_others() -> None:
    async def conversation(scorer: Scorer) -> None:
        groups = SiblingGroups(scorer, 0.05)
        endless = sample(groups, "p", "never", 3600)
        calls = [sample(groups, "p", "a"), sample(groups, "p", "b")]
        assert await asyncio.gather(*calls) == ["ab", "ab"]
        endless.cancel()

    run(conversation)


def test_a_size_separates_two_groups_of_one_prompt() -> None:
    async def conversation(scorer: Scorer) -> None:
        groups = SiblingGroups(scorer, 60, size=2)
        calls = [sample(groups, "p", text, index / 100) for index, text in enumerate("abcd")]
        assert await asyncio.gather(*calls) == ["ab", "ab", "cd", "cd"]
        assert scorer.contexts == [Context("a"), Context("c")], "that of the first rollout to end"

    run(conversation)


def test_every_sibling_gets_the_error_of_the_server() -> None:
    async def conversation(scorer: Scorer) -> None:
        scorer.error = Unreachable("no")
        groups = SiblingGroups(scorer, 60)
        calls = [sample(groups, "p", text) for text in "ab"]
        for call in calls:
            with pytest.raises(Unreachable):
                await call

    run(conversation)


class Interruption(BaseException):
    """No `Exception`, like a cancellation."""


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, Interruption])
def test_every_sibling_gets_an_error_if_scoring_is_interrupted(kind: type[BaseException]) -> None:
    """Nobody is left waiting."""

    async def interrupted(*_: object) -> list[Judged]:
        raise kind

    async def conversation(_: Scorer) -> None:
        groups = SiblingGroups(interrupted, 60)
        ended = await asyncio.gather(*(sample(groups, "p", text) for text in "ab"), return_exceptions=True)
        assert [type(each) for each in ended] == [RewardError] * 2
        assert kind.__name__ in str(ended[0])

    run(conversation)


@pytest.mark.parametrize("wait_s", [-1.0, float("inf"), float("nan"), float("-inf")])
def test_a_wait_without_an_end_is_refused(wait_s: float) -> None:
    async def score(*_: object) -> list[Judged]:
        return []

    with pytest.raises(ValueError, match="wait_s is "):
        SiblingGroups(score, wait_s)


def test_every_sibling_gets_an_error_if_results_are_missing() -> None:
    async def short(texts: Sequence[str], _: Context) -> list[Judged]:
        return [Judged(1.0, "a", {}, 1.0)] * (len(texts) - 1)

    async def conversation(_: Scorer) -> None:
        groups = SiblingGroups(short, 60)
        ended = await asyncio.gather(*(sample(groups, "p", text) for text in "ab"), return_exceptions=True)
        assert [type(each) for each in ended] == [ValueError] * 2

    run(conversation)


def test_a_rollout_that_was_not_judged_gets_its_groups_mean_or_an_error() -> None:
    assert Judged(None, None, {}, 0.25).neutral == 0.25
    assert Judged(0.0, None, {}, 0.25).neutral == 0.0
    with pytest.raises(NotJudged, match=r"any rollout of the group: the signal 'judge' is missing$"):
        _ = Judged(None, None, {}, None, reason="the signal 'judge' is missing").neutral


def test_the_indices_of_siblings() -> None:
    assert siblings("aabbbb") == [range(2), range(2, 6)]
    assert siblings("aabbbb", 2) == [range(2), range(2, 4), range(4, 6)]
    assert siblings("aabbb", 2) == [range(2), range(2, 5)]
    assert siblings("aaaabb", 4, 2) == [range(4), range(4, 6)]
    assert siblings("aaaabb", 2, 4) == [range(4), range(4, 6)]
    assert siblings("aaaabb", 2, None) == [range(2), range(2, 4), range(4, 6)]
    assert gathered("abab") == [[0, 2], [1, 3]]
