"""Killed again and again, no part of a run loses a group or counts one twice: `KILLS` of each, 50 by default."""

import os
from pathlib import Path

import pytest

from tests.kills.killed_run import VICTIMS, killed_run

KILLS = int(os.environ.get("KILLS", "50"))


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(240 + 120 * KILLS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_run_ends_where_an_undisturbed_one_does(tmp_path: Path, victim: str) -> None:
    outcome = killed_run(tmp_path, [victim], KILLS)
    print(outcome)
    assert list(outcome.kills.values()) == [KILLS]
