"""docs/presets.md: its commands run and respond as shown, its table is right, its plots can be drawn."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from ireasoner.reward_server.scoring_config import PAPER, PRESETS, ROBUST

PAGE = Path("docs/presets.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|json)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
DEADLINE_S = 60


def run(command: str, url: str) -> str:
    """Runs a command of the page against the server at `url`, with the commands of this Python."""
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


def assert_contains(response: object, shown: object, path: str = "response") -> None:
    """Everything shown is in the response; numbers agree to 0.001."""
    if isinstance(shown, dict):
        assert isinstance(response, dict), path
        for name, value in shown.items():
            assert_contains(response[name], value, f"{path}.{name}")
    elif isinstance(shown, list):
        assert isinstance(response, list), path
        assert len(response) == len(shown), path
        for number, (one, other) in enumerate(zip(response, shown, strict=True)):
            assert_contains(one, other, f"{path}[{number}]")
    elif isinstance(shown, float):
        assert response == pytest.approx(shown, abs=1e-3), path
    else:
        assert response == shown, path


def test_every_command_responds_as_the_page_shows(minilm_http: httpx.Client) -> None:
    url = str(minilm_http.base_url).rstrip("/")
    checked = 0
    for number, (language, text) in enumerate(BLOCKS):
        if language != "bash":
            continue
        printed = run(text, url)
        if number + 1 < len(BLOCKS) and BLOCKS[number + 1][0] == "json":
            assert_contains(json.loads(printed), json.loads(BLOCKS[number + 1][1]))
            checked += 1
        else:
            assert all(json.loads(line)["status"] == "ok" for line in printed.splitlines())
    assert checked == sum(language == "json" for language, _ in BLOCKS)


def test_the_table_of_switches_is_complete_and_correct() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|", PAGE, re.MULTILINE)

    def shown(value: object) -> str:
        return f"`{value}`" if isinstance(value, str) else f"{value:g}"

    for name, paper, robust in rows:
        assert (paper, robust) == (shown(getattr(PAPER, name)), shown(getattr(ROBUST, name))), name
    differing = {name for name, value in PAPER.model_dump().items() if value != getattr(ROBUST, name)}
    assert differing <= {name for name, _, _ in rows}


def test_the_tables_of_methods_are_complete_and_correct() -> None:
    """Each preset has its use, its source and what it changes in `paper`."""
    others = [name for name in PRESETS if name not in ("paper", "robust")]
    methods = PAGE.partition("## Other methods")[2].partition("### Views, voters and signals")[0]
    described = re.findall(r"^\| `([\w-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", methods, re.MULTILINE)
    assert described == others
    shown = dict(re.findall(r"^\| `([\w-]+)` \| `(\{.*\})` \|$", methods, re.MULTILINE))
    before = PAPER.model_dump()
    for name in others:
        changed = {
            field: value for field, value in PRESETS[name].model_dump().items() if value != before[field]
        }
        assert json.loads(shown.pop(name)) == changed, name
    assert not shown
    assert re.findall(r"^- \*\*`([\w-]+)`\*\*: ", methods, re.MULTILINE) == others


def test_every_plot_of_the_page_is_committed_and_can_be_drawn(
    minilm_http: httpx.Client, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    run(f"{sys.executable} -m docs.presets.draw --url {minilm_http.base_url} --into {tmp_path}", "")
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == {file.name for file in Path("docs/presets").glob("*.svg")}
    assert drawn == set(re.findall(r"\(presets/(\w+\.svg)\)", PAGE))
    for file in tmp_path.iterdir():
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
