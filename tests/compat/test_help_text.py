"""`--help` of the commands that are not subcommands of `ireasoner`."""

import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    ["ireasoner.reward_server", "ireasoner.rollout_server", "replication", "replication.released_code"],
)
def test_help_is_flush_left_and_names_no_empty_default(module: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    description = shown.partition("\n\n")[2].partition("\noptions:")[0]
    assert description.strip()
    assert not re.findall(r"^ +\S", description, re.MULTILINE)
    assert not re.findall(r"\(default(?: factory: dict|: (?:None|null|\(\)))\)", shown)
