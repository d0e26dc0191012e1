"""Batches that are too large for one request are scored as if each group were sent alone."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ireasoner.clients import reward_service
from ireasoner.clients.framework_context import Context
from ireasoner.clients.judged import Judged
from ireasoner.clients.reward_service import RewardService
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import group, rewards, rollout, score
from tests.reward_server.running import running

WORDS = ("north", "east", "south", "west", "northeast")
GROUPS = [
    [
        rollout(str(number % 3), *(WORDS[(number // 5**place + each * place) % 5] for place in range(3)))
        for each in range(3)
    ]
    for number in range(40)
]
LONG = [rollout("7", " ".join(WORDS * 100), word) for word in WORDS]
Scored = list[list[Judged]]
Score = Callable[[RewardService, list[list[str]]], Scored]

EITHER_WAY = pytest.mark.parametrize(
    "score_all",
    [
        lambda service, groups: service.score(groups),
        lambda service, groups: asyncio.run(service.score_async(groups)),
    ],
    ids=["sync", "async"],
)


@pytest.fixture(scope="module")
def small(compass: Path) -> Iterator[str]:
    """A server with a small limit on the size of a request."""
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, max_body_bytes=40_000
    )
    with running(settings, limits=Limits(max_groups=16)) as url:
        yield url


def given(scored: Scored) -> list[list[float | None]]:
    return [[each.reward for each in group] for group in scored]


@EITHER_WAY
def test_a_batch_that_is_too_large_for_one_request(
    small: str, score_all: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_service, "REQUEST_CHARACTERS", 30_000)
    groups = [*GROUPS, LONG, LONG, *GROUPS]
    with httpx.Client(base_url=small) as http:
        alone = [rewards(score(http, "solver", group(texts))["groups"][0]) for texts in groups]
        whole = {"groups": [group(texts, str(number)) for number, texts in enumerate(groups)]}
        assert http.post("/score/solver", json=whole).status_code == 413
    assert given(score_all(RewardService(small), groups)) == alone
    assert len({tuple(each) for each in alone}) > 10


def test_long_questions_count_towards_the_size_of_a_request(compass_url: str) -> None:
    """A server refuses requests that are too large, whatever makes them so."""
    texts = ["a"] * 40
    short, long = Context("q"), Context("q" * 65_536, None, ["7" * 4_096] * 64)
    sizes = [reward_service._groups_per_request([texts] * 40, [each] * 40) for each in (short, long)]
    assert sizes == [16, 6]
    scored = RewardService(compass_url).score([["a", "b"]] * 8, contexts=[long] * 8)
    assert len(scored) == 8


def test_a_hint_of_the_server_is_logged_once(compass_url: str, caplog: pytest.LogCaptureFixture) -> None:
    service = RewardService(url=compass_url, config={"preset": "ttrl", "format_penalty": 0.25})
    for _ in range(2):
        [group] = service.score([["\\boxed{7}", "\\boxed{7}"]])
        assert [one.reward for one in group] == [0.0, 0.0]
    [said] = [record.getMessage() for record in caplog.records if "answer_from" in record.getMessage()]
    assert said.startswith("the reward server says: there is no <answer>")
    assert said.endswith('set "answer_from" to "boxed" or "any" in the config')
