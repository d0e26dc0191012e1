"""Groups that are split over ranks are scored whole, and an error on one rank is one on all: two real processes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.conftest import Solver, run_script
from tests.frameworks.rank_calls import KINDS
from tests.frameworks.rollouts import GROUPS


@pytest.fixture(scope="module")
def folder(compass_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ranks got."""
    made = tmp_path_factory.mktemp("ranks")
    run_script(sys.executable, "rank_calls", compass_url, str(made))
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def got(folder: Path, kind: str, case: str) -> list[Any]:
    """The rewards or the error of each rank."""
    return [json.loads((folder / f"{kind} {case} {rank}").read_text()) for rank in range(2)]


def test_split_groups_are_scored_whole(folder: Path, kind: str, solver: Solver) -> None:
    first, second = got(folder, kind, "split")
    assert first + second == [reward for texts in GROUPS.values() for reward in solver(texts)]


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("refused", "RequestRefused: "),
        ("unreachable", "Unreachable: "),
        ("unreadable", "RewardError: TypeError: "),
    ],
)
def test_an_error_on_one_rank_is_one_on_all(folder: Path, kind: str, case: str, error: str) -> None:
    first, second = got(folder, kind, case)
    assert first == second
    assert first.startswith(error)


def test_a_batch_that_is_given_up_is_so_on_all_ranks(folder: Path, kind: str) -> None:
    assert {reward for rank in got(folder, kind, "given up") for reward in rank} == {None}
