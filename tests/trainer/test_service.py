"""A service and its own children import nothing from the current folder, and PYTHONPATH still reaches them."""

import json
import os
from pathlib import Path

import pytest

from ireasoner.trainer.commands.service import Service, free_ports
from tests.traps import write_traps

PROBE = """
import importlib.util, json, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

NAMES = ("clients", "ireasoner", "json", "services", "torch", "trainer")


def found():
    specs = {name: importlib.util.find_spec(name) for name in NAMES}
    paths = [[spec.origin, *(spec.submodule_search_locations or [])] for spec in specs.values() if spec]
    return [str(path) for found in paths for path in found]


class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        print(json.dumps(found()))
    else:
        child = subprocess.run([sys.executable, "-m", "probe", "child"], capture_output=True, text=True, check=True)
        Path(sys.argv[2]).write_text(json.dumps({"service": found(), "child": json.loads(child.stdout)}))
        HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "importable").mkdir()
    (tmp_path / "importable" / "probe.py").write_text(PROBE)
    traps = write_traps(tmp_path / "traps")
    monkeypatch.chdir(traps)
    python_path = os.pathsep.join(filter(None, (str(tmp_path / "importable"), os.environ.get("PYTHONPATH"))))
    [port] = free_ports(1)
    found = tmp_path / "found.json"
    with Service(
        "probe",
        "probe",
        [str(port), str(found)],
        log=tmp_path / "log.txt",
        ready_url=f"http://127.0.0.1:{port}",
        environment={"PYTHONPATH": python_path},
    ) as service:
        service.wait_until_ready(60)
    origins = json.loads(found.read_text())
    for paths in (origins["service"], origins["child"]):
        assert any(path.endswith("/ireasoner") for path in paths)
        assert not [path for path in paths if str(traps) in path]


def test_a_service_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    from ireasoner.trainer.errors import ServiceError

    with (
        Service(
            "probe", "no_such_module", [], log=tmp_path / "log.txt", ready_url="http://127.0.0.1:9"
        ) as service,
        pytest.raises(
            ServiceError, match=r"(?s)the probe ended with code 1 before it was ready.*no_such_module"
        ),
    ):
        service.wait_until_ready(60)
