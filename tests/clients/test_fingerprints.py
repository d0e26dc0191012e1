"""A server whose scoring changes in the middle of a run is noticed, and accepted only on purpose."""

import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from ireasoner.clients import Config, Fingerprints, ScoringChanged
from ireasoner.clients import reward_service as service
from ireasoner.clients.reward_service import RewardService
from tests.clients.answers import GROUPS, Json, right_answer
from tests.clients.lying_server import CLIENTS, Call, LyingServer, response

FIRST, SECOND = "a" * 16, "b" * 16
EACH_CLIENT = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


class Changing:
    """Replies with a right answer under the fingerprint `now`, or that of the config if it is in `of`."""

    def __init__(self) -> None:
        self.now = FIRST
        self.of: dict[str, str] = {}

    def __call__(self, _: str, sent: Json) -> Iterator[bytes]:
        answer = right_answer(sent)
        answer["fingerprint"] = self.of.get(json.dumps(sent["config"]), self.now)
        yield response(json.dumps(answer).encode())


@pytest.fixture
def changing(liar: LyingServer) -> Changing:
    liar.reply = Changing()
    return liar.reply


def score(call: Call, config: Config = "paper") -> str:
    fingerprint: str = call("score", "solver", GROUPS, config=config).fingerprint
    return fingerprint


@EACH_CLIENT
def test_a_fingerprint_that_changes_is_an_error(client: Any, liar: LyingServer, changing: Changing) -> None:
    with client(liar.url) as call:
        assert [score(call) for _ in range(3)] == [FIRST] * 3
        changing.now = SECOND
        for _ in range(2):
            with pytest.raises(ScoringChanged, match=f"config paper: .* is {SECOND}, was {FIRST}") as changed:
                score(call)
        assert (changed.value.was, changed.value.now, changed.value.retryable) == (FIRST, SECOND, False)
        assert liar.url in str(changed.value)
        changing.now = FIRST
        assert score(call) == FIRST


@EACH_CLIENT
def test_each_config_has_its_own(client: Any, liar: LyingServer, changing: Changing) -> None:
    configs: list[Config] = ["paper", "robust", {"alpha": 0.5}, {"preset": "robust", "alpha": 0.5}]
    changing.of = {json.dumps(config): f"{index}" * 16 for index, config in enumerate(configs)}
    with client(liar.url) as call:
        for _ in range(2):
            assert [score(call, config) for config in configs] == [f"{i}" * 16 for i in range(4)]
        changing.of['"robust"'] = SECOND
        with pytest.raises(ScoringChanged, match="config robust: "):
            score(call, "robust")
        assert score(call, "paper") == "0" * 16
        changing.of = {'{"alpha": 0.5, "gamma": 1}': FIRST, '{"gamma": 1, "alpha": 0.5}': SECOND}
        score(call, {"alpha": 0.5, "gamma": 1})
        with pytest.raises(ScoringChanged):
            score(call, {"gamma": 1, "alpha": 0.5})


@EACH_CLIENT
def test_a_change_is_accepted_on_purpose(
    client: Any, liar: LyingServer, changing: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    with client(liar.url, fingerprints=Fingerprints(accept_new=True)) as call:
        assert score(call) == FIRST
        changing.now = SECOND
        with caplog.at_level(logging.WARNING):
            assert score(call) == score(call) == SECOND
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"is {SECOND}, was {FIRST}" in caplog.text


@EACH_CLIENT
def test_clients_can_share_what_they_have_seen(client: Any, liar: LyingServer, changing: Changing) -> None:
    shared = Fingerprints()
    with client(liar.url, fingerprints=shared) as call:
        score(call)
    changing.now = SECOND
    with client(liar.url, fingerprints=shared) as call, pytest.raises(ScoringChanged):
        score(call)
    with client(liar.url) as call:
        assert score(call) == SECOND, "a client of its own has seen nothing yet"


def test_a_change_between_two_requests_of_many_is_noticed(liar: LyingServer) -> None:
    replies = iter((FIRST, SECOND, SECOND))

    def change(_: str, sent: Json) -> Iterator[bytes]:
        yield response(json.dumps({**right_answer(sent), "fingerprint": next(replies)}).encode())

    liar.reply = change
    with CLIENTS["sync"](liar.url) as call, pytest.raises(ScoringChanged):
        list(call("score_many", "solver", GROUPS, groups_per_request=1, in_flight=1))


def test_a_change_between_two_batches_of_a_framework_is_noticed(
    liar: LyingServer, changing: Changing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters make a service, and so a client, for every batch."""
    monkeypatch.setattr(service, "OF_THIS_PROCESS", Fingerprints())
    monkeypatch.setenv("IREASONER_REWARD_URL", liar.url)
    assert RewardService.configured().score([["a", "b"]])[0][0].reward == 0.625
    changing.now = SECOND
    with pytest.raises(ScoringChanged):
        RewardService.configured().score([["a", "b"]])
    monkeypatch.setenv("IREASONER_REWARD_ACCEPT_NEW_FINGERPRINTS", "1")
    assert RewardService.configured().score([["a", "b"]])[0][0].reward == 0.625


def test_the_error_can_be_pickled() -> None:
    changed = ScoringChanged("http://a config paper", FIRST, SECOND)
    copy: ScoringChanged = pickle.loads(pickle.dumps(changed))
    assert isinstance(copy, ScoringChanged)
    assert (str(copy), copy.was, copy.now) == (str(changed), FIRST, SECOND)
    kept = pickle.loads(pickle.dumps(Fingerprints()))
    kept.check("s", "paper", FIRST)
