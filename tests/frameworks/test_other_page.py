"""docs/frameworks/other.md: its commands give the rewards that the page promises, with bash and curl alone."""

import json
import re
import subprocess

from tests.frameworks.conftest import ROOT

PAGE = (ROOT / "docs" / "frameworks" / "other.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def output(block: str, url: str) -> str:
    assert "http://127.0.0.1:8010" in block
    words = ["bash", "-e", "-o", "pipefail", "-c", block.replace("http://127.0.0.1:8010", url)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_protocol_has_twenty_lines() -> None:
    whole, single = BLOCKS
    assert len(whole.splitlines()) + len(single.splitlines()) <= 20


def test_a_group_in_one_request(compass_url: str) -> None:
    """The embedder of the test server knows other words than those of the page."""
    block = (
        BLOCKS[0].replace("3 + 4 = 7.", "north").replace("4 + 3 = 7.", "north").replace("3 + 4 = 8.", "east")
    )
    scored = json.loads(output(block, compass_url))
    [group] = scored["groups"]
    assert group["id"] == "step-12-question-3"
    assert [each["id"] for each in group["rollouts"]] == ["0", "1", "2"]
    first, second, third = (each["reward"] for each in group["rollouts"])
    assert 0 <= third < first == second <= 1
    assert scored["fingerprint"]


def test_one_rollout_per_call(compass_url: str) -> None:
    """All calls are answered once the third has arrived."""
    answers = [json.loads(each) for each in re.findall(r"\{.*?\}", output(BLOCKS[1], compass_url))]
    assert len(answers) == 3
    assert {each["group_size"] for each in answers} == {3.0}
    assert {each["partial"] for each in answers} == {0.0}
    rewards = sorted(each["reward"] for each in answers)
    assert rewards[0] < rewards[1] == rewards[2]
