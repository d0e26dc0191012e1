"""Both clients use the environment's proxies, except for servers that it or their address exempts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ireasoner.clients import RewardError
from tests.clients.answers import GROUPS, Json, right_answer
from tests.clients.lying_server import CLIENTS, LyingServer, response

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
FAR = "http://reward.invalid:8010"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch, liar: LyingServer) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    liar.reply = answering
    liar.requests.clear()


def answering(_: str, sent: Json) -> Iterator[bytes]:
    yield response(json.dumps(right_answer(sent)).encode())


EACH_CLIENT = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


@EACH_CLIENT
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_far_server_is_reached_through_the_proxy(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, liar.url)
    monkeypatch.setenv("NO_PROXY", "other.invalid")
    with client(FAR) as call:
        assert call("score", "solver", GROUPS).groups[0].id == "q1"
    assert liar.requests == [f"{FAR}/score/solver"], "a proxy gets the whole address"


@EACH_CLIENT
@pytest.mark.parametrize("exempt", ["*", "invalid", ".invalid", "reward.invalid", "a, reward.invalid:8010"])
def test_an_exempt_server_is_reached_directly(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", liar.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    with client(FAR) as call, pytest.raises(RewardError):
        call("score", "solver", GROUPS)  # the name does not exist
    assert not liar.requests


@EACH_CLIENT
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_reached_directly(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with client(liar.url.replace("127.0.0.1", host)) as call:
        call("score", "solver", GROUPS)
    assert liar.requests == ["/score/solver"]


@EACH_CLIENT
def test_a_proxy_that_cannot_be_reached_is_an_error(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "127.0.0.1:9")
    with client(FAR) as call, pytest.raises(RewardError, match=f"{FAR}/score/solver"):
        call("score", "solver", GROUPS)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")
    with client(FAR.replace("http", "https")) as call, pytest.raises(RewardError) as raised:
        call("score", "solver", GROUPS)
    assert "secret" not in str(raised.value)


@EACH_CLIENT
def test_a_proxy_that_drips_ends_at_the_deadline(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar.reply, liar.written = lambda *_: liar.drip(b"HTTP/1.1 200 " + b"O" * 5_000), 0
    monkeypatch.setenv("HTTP_PROXY", liar.url)
    monkeypatch.setenv("HTTPS_PROXY", liar.url)
    for address in (FAR, FAR.replace("http", "https")):
        with client(address, timeout_s=0.3) as call, pytest.raises(RewardError):
            call("score", "solver", GROUPS)
    assert liar.written < 500
