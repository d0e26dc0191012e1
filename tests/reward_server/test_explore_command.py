"""`ireasoner explore`: serves ledgers, and says what is wrong with its inputs."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.commands import explore
from ireasoner.reward_server.ledger import schema
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent


def ledger(folder: Path) -> Path:
    keep(folder, [record(sent(["7"]))])
    return folder


def refused(capsys: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
    with pytest.raises(SystemExit) as ended:
        explore.main(words)
    assert ended.value.code == status
    message = capsys.readouterr().err
    assert message.startswith("ireasoner explore: ")
    return message


def test_it_serves_ledgers_until_ctrl_c_and_changes_none(tmp_path: Path) -> None:
    """The address is that of the page; the embedder need not be loaded. Replicas' ledgers are read as one."""
    one = ledger(tmp_path / "one")
    for name in ("a", "b"):
        ledger(tmp_path / "replicas" / name)
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("ledger.sqlite"))}
    command = [
        sys.executable,
        "-P",
        "-m",
        "ireasoner.cli",
        "explore",
        str(one),
        str(tmp_path / "replicas"),
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "REWARD_TOKENS_FILE": "/nowhere", "REWARD_PORT": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ireasoner explore: http://127.0.0.1:")
        assert line.endswith("/explore\n")
        url = line.split()[-1].removesuffix("/explore")
        assert httpx.get(f"{url}/").headers["location"] == "explore"
        answer = httpx.get(f"{url}/ledger/runs").json()
        assert {run["id"] for run in answer["runs"]} == {"0-1", "1-1", "2-1"}
        assert answer["ledger"]["is_recording"] is False
        assert httpx.put(f"{url}/ledger/images/{'0' * 64}", content=b"x").json()["code"] == "no_ledger"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert {file: file.read_bytes() for file in sorted(tmp_path.rglob("ledger.sqlite"))} == before


def test_a_folder_without_a_ledger_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = ledger(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    assert "has no ledger" in refused(capsys, str(good), str(tmp_path / "empty"))
    assert "is not a folder" in refused(capsys, str(tmp_path / "missing"))


def test_a_ledger_of_another_version_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    connection = schema.open_to_write(tmp_path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "version 99" in refused(capsys, str(tmp_path))


def test_a_file_that_is_no_ledger_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / schema.FILE).write_bytes(b"not a database" * 100)
    assert str(tmp_path / schema.FILE) in refused(capsys, str(tmp_path))


def test_where_it_cannot_listen_it_has_failed_as_the_reward_server(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (str(ledger(tmp_path)), "--tokens-file", str(tmp_path / "tokens"))
    add_token(tmp_path / "tokens", "a")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on port {port}" in refused(capsys, *words, "--port", port, status=1)
    assert "of 192.0.2.1: " in refused(capsys, *words, "--host", "192.0.2.1", "--port", "0", status=1)


def test_other_machines_need_a_token(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--tokens-file" in refused(capsys, str(ledger(tmp_path)), "--host", "0.0.0.0")
    assert "/missing" in refused(capsys, str(ledger(tmp_path)), "--tokens-file", "/missing")


@pytest.mark.parametrize("words", [[], ["--portt", "1", "x"], ["x", "--port", "x"]], ids=str)
def test_wrong_flags_are_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "--help" in refused(capsys, *words)
