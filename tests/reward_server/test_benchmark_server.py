"""The servers of the benchmarks: they are ready, or end with an error, within a deadline, and inherit no settings."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks import server_process
from benchmarks.server_process import ready_server
from tests.moved_clock import MovedClock

SERVING = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status} if self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Answers)
print(f"a server: listening on http://127.0.0.1:{{server.server_port}}/page", flush=True)
server.serve_forever()
"""


@pytest.fixture(autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    assert not [each for each in psutil.Process().children() if "fake_server" in each.cmdline()]


def fake(folder: Path, source: str) -> str:
    """The path that finds the module `fake_server`."""
    (folder / "fake_server.py").write_text(source)
    return str(folder)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("import time\ntime.sleep(600)", TimeoutError, "fake_server printed no address in time"),
        ("raise SystemExit(3)", ChildProcessError, "fake_server printed '' where its address was expected"),
        ("print('hello')", ChildProcessError, r"fake_server printed 'hello\\n' where"),
        ("print('http://127.0.0.1:9', flush=True)\nraise SystemExit(3)", ChildProcessError, "ended with 3"),
    ],
)
def test_a_server_that_does_not_start_is_an_error(
    source: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    deadline_s = 0.1 if error is TimeoutError else 60
    starting = ready_server("fake_server", deadline_s=deadline_s, PYTHONPATH=fake(tmp_path, source))
    with pytest.raises(error, match=message):
        starting.__enter__()


def test_a_server_that_never_gets_ready_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MovedClock.of(monkeypatch, "benchmarks.server_process")
    monkeypatch.setattr(server_process, "POLL_S", 50.0)
    starting = ready_server("fake_server", PYTHONPATH=fake(tmp_path, SERVING.format(status=503)))
    with pytest.raises(TimeoutError, match=r"fake_server at http://127\.0\.0\.1:\d+ was not ready in time"):
        starting.__enter__()


def test_a_ready_server_has_only_the_settings_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_EMBEDDER", "token-mean")
    monkeypatch.setenv("reward_log_level", "debug")
    monkeypatch.setenv("KEPT", "1")
    path = fake(tmp_path, SERVING.format(status=200))
    with ready_server("fake_server", PYTHONPATH=path, REWARD_LOG_LEVEL="error") as (process, url):
        environment = json.loads(httpx.get(url).content)
        assert process.poll() is None
    settings = {name: value for name, value in environment.items() if name.upper().startswith("REWARD_")}
    assert settings == {"REWARD_LOG_LEVEL": "error"}
    assert environment["KEPT"] == "1"
