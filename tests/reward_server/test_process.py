"""The server as a process: start, options, signals, failure, and the committed OpenAPI document."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from ireasoner.clients import Group, RewardClient, Rollout
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.server import Server
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import rollout

COMMAND = [sys.executable, "-m", "ireasoner.reward_server"]
DEADLINE_S = 60


@contextmanager
def server(*flags: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *flags],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_address_scores_and_ends_on_a_signal(compass: Path, stop: signal.Signals) -> None:
    with server("--embedder", "token-mean", REWARD_TOKEN_MEAN_CHECKPOINT=str(compass)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("reward-server: listening on ").strip()
        with RewardClient(url) as client:
            client.wait_until_ready(DEADLINE_S, is_alive=lambda: process.poll() is None)
            answer = client.score("outcome", [Group("g", [Rollout("0", rollout("7", "east"))])])
        assert answer.groups[0].rollouts[0].reward == 1.0
        process.send_signal(stop)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert "Shutting down" in [line["message"] for line in lines], "uvicorn's lines are logged too"
    assert "\\u001b" not in errors, "without the colours of a terminal"


def test_signals_shorten_the_shutdown_step_by_step(compass: Path) -> None:
    server = Server(RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass))
    stages = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        server.handle_exit(number, None)
        stages.append((server.should_exit, server.force_exit))
    assert stages == [(False, False), (True, False), (True, False), (True, True)]


def test_draining_server_closes_each_connection_after_its_response(compass: Path) -> None:
    """A request on a connection from before the signal is answered, and the connection is then closed."""
    body = {"groups": [{"id": "g", "rollouts": [{"id": "0", "text": rollout("7", "east")}]}]}
    flags = ["--embedder", "token-mean", "--token-mean-checkpoint", str(compass), "--drain-notice-s", "60"]
    with server(*flags) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("reward-server: listening on ").strip()
        with RewardClient(url) as client:
            client.wait_until_ready(DEADLINE_S, is_alive=lambda: process.poll() is None)
        with httpx.Client(base_url=url, timeout=DEADLINE_S) as busy, httpx.Client(base_url=url) as idle:
            for http in (busy, idle):
                assert "connection" not in http.get("/readyz").headers
            process.send_signal(signal.SIGTERM)
            deadline_s = time.monotonic() + DEADLINE_S
            while httpx.get(f"{url}/readyz").status_code == 200:
                assert time.monotonic() < deadline_s
            kept = busy.post("/score/outcome", json=body)
            again = busy.post("/score/outcome", json=body)
            assert [(each.status_code, each.headers["connection"]) for each in (kept, again)] == [
                (200, "close")
            ] * 2
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=DEADLINE_S)
            for http in (busy, idle):
                with pytest.raises(httpx.ConnectError):  # not a connection that breaks
                    http.post("/score/outcome", json=body)
    assert process.returncode == 0
    messages = [json.loads(line)["message"] for line in errors.splitlines()]
    assert messages.count("not ready: the server is shutting down") == 1, "a change, not each probe"
    assert not any("/readyz" in message for message in messages)


def test_an_embedder_that_fails_to_load_ends_the_process(tmp_path: Path) -> None:
    with server("--embedder", "token-mean", "--token-mean-checkpoint", str(tmp_path)) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
        assert "tokenizer.json is missing" in errors.splitlines()[-1]


@pytest.mark.slow  # imports sentence-transformers anew
def test_a_model_that_does_not_exist_ends_the_process_with_one_line(tmp_path: Path) -> None:
    """At once: the hub is asked once, and here it cannot be reached."""
    model = "nosuch/model"
    hub = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path)}
    with server("--embedder", model, "--log-level", "warning", **hub) as process:
        _, errors = process.communicate(timeout=2 * DEADLINE_S)
        assert process.returncode == 1
    lines = errors.splitlines()
    assert lines[-1].startswith(f"reward-server: {model}: ModelUnavailable: {model} is ")
    assert "Retrying" not in errors
    assert "Traceback" not in errors
    assert sum(model in line for line in lines) == 2, "one log line and one for people"


def test_a_port_in_use_ends_the_process(compass_url: str, compass: Path) -> None:
    port = str(httpx.URL(compass_url).port)
    flags = ["--port", port, "--embedder", "token-mean", "--token-mean-checkpoint", str(compass)]
    ended = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == 1
    [message] = ended.stderr.splitlines()
    where = f"cannot listen on port {port} of 127.0.0.1: Address already in use"
    assert message == f"reward-server: {where}; choose others with --host and --port"


@pytest.mark.parametrize("server", ["reward_server", "rollout_server"])
def test_a_server_says_its_version(server: str) -> None:
    command = [sys.executable, "-m", f"ireasoner.{server}", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert ended.stdout == f"{version('ireasoner')}\n"


@pytest.mark.parametrize(
    ("flags", "variables", "message"),
    [
        ([], {"REWARD_PROT": "8000"}, "REWARD_PROT: there is no such variable; did you mean REWARD_PORT?"),
        ([], {"REWARD_PORT": "high"}, "port: Input should be a valid integer"),
        (["--port", "70000"], {}, "port: Input should be less than or equal to 65535"),
        (["--prot", "1"], {}, "--prot: there is no such flag; did you mean --port?"),
        (["--embedder", "token-mean"], {}, "needs --token-mean-checkpoint"),
        (["--token-mean-checkpoint", "/"], {}, "is for token-mean"),
        (["--embedder", "token-mean", "--token-mean-checkpoint", "/nowhere"], {}, "is not a folder"),
    ],
)
def test_invalid_settings_are_refused(flags: list[str], variables: dict[str, str], message: str) -> None:
    environment = {**os.environ, **variables}
    ended = subprocess.run(
        [*COMMAND, *flags], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 2
    assert message in ended.stderr


def test_the_committed_openapi_document_is_up_to_date() -> None:
    committed = json.loads(Path("docs/openapi.json").read_text())
    assert committed == json.loads(json.dumps(create_app(RewardServerSettings()).openapi())), (
        "refresh it: python -m ireasoner.reward_server --print-openapi > docs/openapi.json"
    )
