"""docs/presets.md: its commands run, what it says they answer is what they answer, its pictures can be drawn."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from ireasoner.reward_server.scoring_config import PAPER, ROBUST

PAGE = Path("docs/presets.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|json)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
DEADLINE_S = 60


def run(command: str, url: str) -> str:
    """Runs a command of the page against the server at `url`, with this Python's commands."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = command.replace("http://127.0.0.1:8010", url)
    if command.startswith("reward-score"):
        words = command.removeprefix("reward-score").strip()
        command = f"{sys.executable} -m ireasoner.clients.score {words} --url {url}"
    ended = subprocess.run(
        ["bash", "-ec", command], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def assert_contains(answer: object, shown: object, place: str = "answer") -> None:
    """Everything that is shown is in the answer; numbers to the digits that are shown."""
    if isinstance(shown, dict):
        assert isinstance(answer, dict), place
        for name, value in shown.items():
            assert_contains(answer[name], value, f"{place}.{name}")
    elif isinstance(shown, list):
        assert isinstance(answer, list), place
        assert len(answer) == len(shown), place
        for number, (one, other) in enumerate(zip(answer, shown, strict=True)):
            assert_contains(one, other, f"{place}[{number}]")
    elif isinstance(shown, float):
        assert answer == pytest.approx(shown, abs=1e-3), place
    else:
        assert answer == shown, place


def test_every_command_runs_and_answers_what_the_page_shows(minilm_http: httpx.Client) -> None:
    url = str(minilm_http.base_url).rstrip("/")
    checked = 0
    for place, (language, text) in enumerate(BLOCKS):
        if language != "bash":
            continue
        answer = run(text, url)
        if place + 1 < len(BLOCKS) and BLOCKS[place + 1][0] == "json":
            assert_contains(json.loads(answer), json.loads(BLOCKS[place + 1][1]))
            checked += 1
        else:
            assert all(json.loads(line)["status"] == "ok" for line in answer.splitlines())
    assert checked == sum(language == "json" for language, _ in BLOCKS)


def test_the_table_of_switches_is_complete_and_right() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|", PAGE, re.MULTILINE)

    def shown(value: object) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        return f"`{value}`" if isinstance(value, str) else f"{value:g}"

    for name, paper, robust in rows:
        assert (paper, robust) == (shown(getattr(PAPER, name)), shown(getattr(ROBUST, name))), name
    differing = {name for name, value in PAPER.model_dump().items() if value != getattr(ROBUST, name)}
    assert differing <= {name for name, _, _ in rows}


def test_the_pictures_can_be_drawn_and_are_all_there(minilm_http: httpx.Client, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run(f"{sys.executable} -m docs.presets.draw --url {minilm_http.base_url} --into {tmp_path}", "")
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == {file.name for file in Path("docs/presets").glob("*.svg")}
    assert drawn == set(re.findall(r"\(presets/(\w+\.svg)\)", PAGE))
    for file in tmp_path.iterdir():
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
