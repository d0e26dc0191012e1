"""The ledger of a demo: where its groups can be seen, and that a demo goes on where no ledger can be kept."""

import io
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from ireasoner.trainer.commands.demo import _ready_reward_server, _reward_server
from ireasoner.trainer.commands.service import Service, free_ports
from ireasoner.trainer.errors import ServiceError
from ireasoner.trainer.settings import RunSettings

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

if "--broken" in sys.argv:
    sys.exit("reward-server: the port is taken")
if "--ledger" in sys.argv:
    folder = sys.argv[sys.argv.index("--ledger") + 1]
    if "usable" not in folder:
        sys.exit(f"reward-server: the process 7 records into {folder}")


class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Ready).serve_forever()
"""


@pytest.fixture
def run(tmp_path: Path) -> RunSettings:
    [port] = free_ports(1)
    return RunSettings(
        model="m", images=tmp_path, run_folder=tmp_path / "run", reward={"url": f"http://127.0.0.1:{port}"}
    )


def ready(run: RunSettings, ledger: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> tuple[bool, str]:
    """Whether the server that was started at first is the one that became ready, and what the console shows."""
    folder = run.run_folder.parent
    (folder / "stand_in_server.py").write_text(SERVER)
    python_path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", python_path)

    def server(run: RunSettings, ledger: Path | None) -> Service:
        made = _reward_server(run, ledger)
        made._command[made._command.index("ireasoner.reward_server")] = "stand_in_server"
        made._command += flags
        return made

    monkeypatch.setattr("ireasoner.trainer.commands.demo._reward_server", server)
    shown = io.StringIO()
    with ExitStack() as services:
        started = services.enter_context(server(run, ledger))
        found = _ready_reward_server(services, run, ledger, started, Console(file=shown, width=200))
        assert found.is_alive()
    return found is started, shown.getvalue()


def test_the_explorers_address_is_shown(
    run: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, shown = ready(run, tmp_path / "usable", monkeypatch)
    assert kept
    assert f"every group as it is scored: {run.reward.url}/explore\n" in shown


def test_a_demo_goes_on_where_no_ledger_can_be_kept(
    run: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, shown = ready(run, tmp_path / "locked", monkeypatch)
    assert not kept
    assert "going on without a ledger" in shown
    assert f"the process 7 records into {tmp_path / 'locked'}" in shown
    assert "/explore" not in shown


def test_any_other_failure_ends_it(run: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="the port is taken"):
        ready(run, tmp_path / "usable", monkeypatch, "--broken")
