"""Tokens: required beyond loopback, hashed in their file, absent from every log."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from ireasoner.clients import RequestRefused, RewardClient
from ireasoner.reward_server.__main__ import main
from ireasoner.reward_server.api.tokens import OPERATOR, Tokens, UnusableTokens, add_token
from ireasoner.reward_server.settings import RewardServerSettings
from tests.clients.test_contract import GROUPS
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running

BODY = {"groups": [group([rollout("7", "east")])]}


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens.txt"


@pytest.fixture(scope="module")
def token(token_file: Path) -> str:
    return add_token(token_file, "run-7")


@pytest.fixture(scope="module")
def guarded(token_file: Path, token: str, compass: Path) -> Iterator[str]:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, tokens_file=token_file, host="0.0.0.0"
    )
    with running(settings) as url:
        yield url.replace("0.0.0.0", "127.0.0.1")


def test_a_request_needs_a_known_token(guarded: str, token: str) -> None:
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": f"Basic {token}"}):
        refused = httpx.post(f"{guarded}/score/outcome", json=BODY, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert refused.json()["retryable"] is False
        assert refused.headers["www-authenticate"] == "Bearer"
    in_url = httpx.post(f"{guarded}/score/outcome", params={"token": token}, json=BODY)
    assert in_url.status_code == 401, "callers that can send a header must not put the token into the URL"
    assert httpx.get(f"{guarded}/metrics").status_code == 401
    assert httpx.get(f"{guarded}/livez").status_code == httpx.get(f"{guarded}/readyz").status_code == 200
    assert httpx.get(f"{guarded}/", follow_redirects=True).status_code == 200
    with RewardClient(guarded, token=token) as client:
        assert client.score("outcome", GROUPS).groups
    with RewardClient(guarded) as client, pytest.raises(RequestRefused, match="401 unauthorized"):
        client.score("outcome", GROUPS)


def test_under_cohort_the_url_may_carry_the_token(guarded: str, token: str) -> None:
    assert httpx.post(f"{guarded}/cohort/nothing", params={"token": token}).status_code == 404
    assert httpx.post(f"{guarded}/cohort/nothing", params={"token": "no"}).status_code == 401


def test_metrics_are_labelled_with_the_experiment(guarded: str, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.post(f"{guarded}/score/outcome", json=BODY, headers=headers).status_code == 200
    shown = httpx.get(f"{guarded}/metrics", headers=headers).text
    assert 'reward_rollouts_total{config="paper",experiment="run-7",status="ok"}' in shown


def test_tokens_can_be_added_and_revoked_while_the_server_runs(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    first = add_token(file, "first")
    tokens = Tokens(file)
    second = add_token(file, "second")
    assert (tokens.experiment(first), tokens.experiment(second)) == ("first", "second")
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "second" in line))
    assert (tokens.experiment(first), tokens.experiment(second)) == (None, "second")


def test_the_command_prints_the_token_alone_and_says_when_the_name_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens"
    printed = []
    for name in ("run-7", "run-7", "run-70", "run-7"):
        assert main(["--tokens-file", str(file), "--new-token", name]) == 0
        printed.append(capsys.readouterr())
    tokens = Tokens(file)
    known = [tokens.experiment(shown.out.removesuffix("\n")) for shown in printed]
    assert known == ["run-7", "run-7", "run-70", "run-7"]
    assert [shown.err for shown in (printed[0], printed[2])] == ["", ""]
    assert "'run-7' exists already: this is a further token, and the other one stays valid" in printed[1].err
    assert "the other 2 stay valid" in printed[3].err


def test_the_command_adds_nothing_to_a_file_that_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens"
    file.write_text("nonsense\n")
    assert main(["--tokens-file", str(file), "--new-token", "run-7"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, file.read_text()) == ("", "nonsense\n")
    assert f"{file}:1: expected" in shown.err


@pytest.mark.parametrize("name", ["-", "", "a b", "../x", "x" * 65])
def test_no_token_is_made_for_an_invalid_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableTokens, match="a name has"):
        add_token(tmp_path / "tokens", name)


@pytest.mark.parametrize("damage", [b"second 12", b"\xff\xfe\x00", None])
def test_a_file_that_is_damaged_while_the_server_runs_revokes_no_token(
    tmp_path: Path, compass: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    file = tmp_path / "tokens"
    headers = {"authorization": f"Bearer {add_token(file, 'first')}"}
    whole = file.read_bytes()
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass, tokens_file=file)

    def status(headers: dict[str, str]) -> int:
        return httpx.post(f"{url}/score/outcome", json=BODY, headers=headers).status_code

    with running(settings) as url:
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(whole + damage)
        assert [status(headers), status(headers), status({"authorization": "Bearer no"})] == [200, 200, 401]
        errors = [each for each in caplog.messages if "the 1 tokens that were read before stay valid" in each]
        assert len(errors) == 1, "once, not with every request"
        file.write_bytes(whole.replace(b"first", b"other"))
        second = {"authorization": f"Bearer {add_token(file, 'second')}"}
        assert [status(headers), status(second)] == [200, 200]
        file.write_text("# nobody\n")
        assert status(headers) == 401


def test_metrics_can_be_shown_without_a_token(token_file: Path, token: str, compass: Path) -> None:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, tokens_file=token_file, open_metrics=True
    )
    with running(settings) as url:
        assert httpx.get(f"{url}/metrics").status_code == 200
        assert httpx.get(f"{url}/configs").status_code == 401


def test_the_file_holds_no_token_and_only_its_owner_reads_it(token_file: Path, token: str) -> None:
    assert token not in token_file.read_text()
    assert token_file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["run", "run 123", "a b c", f"../x {'0' * 64}", f"- {'0' * 64}"])
def test_an_invalid_file_is_refused_with_its_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n{content}\n")
    with pytest.raises(UnusableTokens, match="tokens:2"):
        Tokens(file)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "reward.example"])
def test_only_loopback_needs_no_tokens(host: str) -> None:
    with pytest.raises(ValidationError, match="needs --tokens-file"):
        RewardServerSettings(host=host)
    for loopback in ("127.0.0.1", "::1", "localhost"):
        assert RewardServerSettings(host=loopback).tokens_file is None


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\n# a comment"])
def test_a_token_is_added_on_a_line_of_its_own(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "tokens"
    first = add_token(file, "first")
    file.write_text(file.read_text().rstrip("\n") + ending)
    second = add_token(file, "second")
    tokens = Tokens(file)
    assert [tokens.experiment(token) for token in (first, second)] == ["first", "second"]


@pytest.mark.parametrize("how", ["replaced", "written in place"])
def test_a_file_of_equal_size_and_time_is_read_again(tmp_path: Path, how: str) -> None:
    file, other = tmp_path / "tokens", tmp_path / "other"
    old, new = add_token(file, "run-1"), add_token(other, "run-2")
    tokens, status = Tokens(file), file.stat()
    if how == "replaced":
        other.rename(file)
    else:
        time.sleep(0.05)  # the change time of a file has the resolution of the kernel's clock
        file.write_bytes(other.read_bytes())
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    assert [tokens.experiment(token) for token in (old, new)] == [None, "run-2"]


@pytest.fixture
def tenants(tmp_path: Path, compass: Path) -> Iterator[dict[str, httpx.Client]]:
    """Callers with the tokens of two experiments and of the operator."""
    file = tmp_path / "tokens"
    tokens = {name: add_token(file, name) for name in ("a", "b", OPERATOR)}
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass, tokens_file=file)
    with running(settings) as url, ExitStack() as stack:
        yield {
            name: stack.enter_context(
                httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30)
            )
            for name, token in tokens.items()
        }


def alpha(caller: httpx.Client, name: str) -> float | None:
    """The config that a caller finds under a name, by one of its fields."""
    found = caller.get(f"/configs/{name}")
    return found.json()["config"]["alpha"] if found.status_code == 200 else None


def test_an_experiment_cannot_register_over_anothers_name(tenants: dict[str, httpx.Client]) -> None:
    assert tenants["a"].put("/configs/mine", json={"alpha": 0.5}).status_code == 200
    assert tenants["b"].put("/configs/mine", json={"alpha": 0.6}).status_code == 200
    assert [alpha(tenants[name], "mine") for name in ("a", "b", OPERATOR)] == [0.5, 0.6, None]
    scored = {
        name: tenants[name].post("/score/outcome", json=BODY | {"config": "mine"}).json()["fingerprint"]
        for name in ("a", "b")
    }
    assert scored["a"] != scored["b"]
    key = "/cohort/remote?group_size=1&config=mine"
    statuses = [
        caller.post(key, json={"prompt": "p", "response": "r"}).status_code for caller in tenants.values()
    ]
    assert statuses == [200, 200, 422]


def test_what_the_operator_registers_is_shared(tenants: dict[str, httpx.Client]) -> None:
    assert tenants[OPERATOR].put("/configs/house", json={"alpha": 0.5}).status_code == 200
    assert [alpha(caller, "house") for caller in tenants.values()] == [0.5] * 3
    assert tenants["a"].put("/configs/house", json={"alpha": 0.6}).json()["code"] == "config_in_use"
    assert tenants["a"].post("/score/outcome", json=BODY | {"config": "house"}).status_code == 200


def test_an_experiment_sees_its_own_configs_and_metrics_only(tenants: dict[str, httpx.Client]) -> None:
    for name in ("a", "b"):
        tenants[name].put(f"/configs/secret-{name}", json={"alpha": 0.5})
        tenants[name].post("/score/outcome", json=BODY | {"config": f"secret-{name}"})
    for name, other in (("a", "b"), ("b", "a")):
        for route in ("/configs", "/metrics"):
            answer = tenants[name].get(route).text
            assert f"secret-{name}" in answer
            assert f"secret-{other}" not in answer
        assert f'experiment="{other}"' not in tenants[name].get("/metrics").text
        assert f"secret-{other}" not in tenants[name].post("/score/outcome", json=BODY | {"config": "x"}).text
    assert {"secret-a", "secret-b"} <= set(
        re.findall(r'config="([\w-]+)"', tenants[OPERATOR].get("/metrics").text)
    )
