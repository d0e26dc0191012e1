"""The generated pages are up to date, and the commands in the operators' page work as they stand there."""

import html
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server.errors import CallerGone, ServiceError
from tests.rollout_server.running import free_port

PAGE = Path("docs/operators.md")
COMMANDS = {"reward-server": "ireasoner.reward_server", "reward-score": "ireasoner.clients.score"}


def blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_generated_pages_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "scripts.reward_server_docs", "--check"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stdout


def test_every_example_of_the_api_page_is_answered(compass_http: httpx.Client) -> None:
    page = compass_http.get("/docs").text
    examples = [html.unescape(each) for each in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    assert len(examples) == page.count("<p>Body: ")
    for example in examples:
        words = shlex.split(example.replace("\\\n", " "))
        answer = compass_http.request(
            "PUT" if "PUT" in words else "POST",
            words[-1].removeprefix("http://127.0.0.1:8010"),
            content=words[words.index("-d") + 1],
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 200, (example, answer.text)


def test_links_within_the_api_page_lead_somewhere(compass_http: httpx.Client) -> None:
    page = compass_http.get("/docs").text
    assert set(re.findall(r"href='#(\w+)'", page)) <= set(re.findall(r"id=(\w+)", page))
    text = Path("docs/api.md").read_text()
    headings = {name.lower() for name in re.findall(r"^## (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= headings


def leaves(kind: type[ServiceError]) -> list[type[ServiceError]]:
    return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]


def test_the_operators_page_names_every_error() -> None:
    """But the one of a caller that has gone, whom nobody tells."""
    told = set(re.findall(r"^\| (\d{3}) \| `(\w+)`", PAGE.read_text(), re.MULTILINE))
    assert told == {(str(each.status), each.code) for each in leaves(ServiceError) if each is not CallerGone}


@pytest.mark.parametrize("block", blocks())
def test_every_command_of_the_operators_page_works(block: str, tmp_path: Path, compass: Path) -> None:
    """As it stands, but on a free port, and with the embedder that starts fastest."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, module in COMMANDS.items():
        command = binaries / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        command.chmod(0o755)
    port = free_port()
    script = block.replace("8010", str(port)).replace(
        "reward-score -", f"reward-score - --url http://127.0.0.1:{port}"
    )
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path.cwd()),
        "REWARD_EMBEDDER": "token-mean",
        "REWARD_TOKEN_MEAN_CHECKPOINT": str(compass),
        "REWARD_DRAIN_NOTICE_S": "0",
    }
    ended = subprocess.run(
        ["bash", "-m", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
