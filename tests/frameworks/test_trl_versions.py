"""The range of TRL that the page states: the ends of it, and where asynchronous objects begin."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ireasoner.compat.repairs import STARTUP
from tests.frameworks.conftest import ROOT, Solver, run_script
from tests.frameworks.rollouts import GROUPS

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(600)]


def unpacked(release: str, folder: Path) -> str:
    """A release of TRL from the package index, without its dependencies."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), f"trl=={release}"], check=True, timeout=240)
    [wheel] = folder.glob("trl-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "trl")
    return str(folder / "trl")


@pytest.mark.parametrize("release", ["1.0.0", "1.13.0", "1.14.0", "installed"])
def test_a_release_takes_our_reward_functions(
    compass_url: str, tmp_path: Path, solver: Solver, release: str
) -> None:
    """Both trainers get the rewards of `/score/solver`, in single precision, and print no prompts."""
    paths = [str(STARTUP), str(ROOT)]
    if release != "installed":
        paths.insert(0, unpacked(release, tmp_path))
    file = tmp_path / "done.json"
    log = run_script(
        sys.executable,
        "trl_versions",
        compass_url,
        str(file),
        deadline_s=500,
        PYTHONPATH=os.pathsep.join(paths),
    )
    shown = json.loads(file.read_text())
    assert release in ("installed", shown["version"])
    expected = [reward for texts in GROUPS.values() for reward in solver(texts, 0.5)]
    single = [None if reward is None else float(np.float32(reward)) for reward in expected]
    kinds = ["sync", "parts"] if release < "1.14" else ["sync", "parts", "async", "async parts"]
    assert shown["done"].keys() == {
        f"{trainer}Trainer {kind}" for trainer in ("GRPO", "RLOO") for kind in kinds
    }
    for name, done in shown["done"].items():
        assert {"agreement/entropy", "agreement/lambda"} <= done["charts"].keys()
        assert all(len(values) == 1 for values in done["charts"].values()), "a batch is charted once"
        if "parts" in name:
            assert all(len(row) == 2 for row in done["rewards"])
        else:
            assert [None if row[0] != row[0] else row[0] for row in done["rewards"]] == single
    assert "All reward functions returned None" not in log
    assert log.count("the reward server abstained from") == 1


def test_the_page_states_this_range() -> None:
    page = (ROOT / "docs" / "frameworks" / "trl.md").read_text()
    assert re.search(r"TRL 1\.0 to 1\.16; `AsyncGroupReward` needs 1\.14", page)
