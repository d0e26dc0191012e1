"""The table of kinds in docs/presets.md: what it says is the same is, and what it says is apart is."""

import asyncio
import re
from pathlib import Path

import pytest

from ireasoner.reward_server.answers.equivalence import cluster
from ireasoner.reward_server.answers.formulas import ExpressionComparer
from ireasoner.reward_server.scoring_config import ROBUST

PAGE = Path("docs/presets.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \*\*(.+?)\*\*.*? \| (.+?) \| (.+?) \|", PAGE, re.MULTILINE)


def groups(cell: str) -> list[list[str]]:
    """The examples of a cell."""
    return [re.findall(r"`([^`]+)`", group) for group in cell.split(";")]


@pytest.mark.parametrize(("same", "apart"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_table_is_right(same: str, apart: str) -> None:
    async def cluster_counts() -> tuple[list[int], list[int]]:
        comparer = ExpressionComparer()
        try:
            same_counts, apart_counts = [
                [len(set((await cluster(group, ROBUST, comparer)).names)) for group in groups(cell)]
                for cell in (same, apart)
            ]
            return same_counts, apart_counts
        finally:
            await comparer.stop()

    same_counts, apart_counts = asyncio.run(cluster_counts())
    assert same_counts == [1] * len(groups(same))
    assert apart_counts == [len(group) for group in groups(apart)]


def test_the_table_was_found() -> None:
    assert len(ROWS) > 10
