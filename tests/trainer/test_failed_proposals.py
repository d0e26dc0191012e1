"""Proposals without a question in a run: nothing is sampled for them, and they are on record."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ireasoner.trainer.report import write_report
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.trainer.offline import OfflineRollouts, offline_settings, offline_trainer, reasoning

pytestmark = pytest.mark.timeout(300)

FAILED = "I see six digits."
FIELDS: dict[str, Any] = {
    "updates": 5,
    "groups_per_update": 2,
    "collapse": {"window": 2},
    "grpo": {"report_to": "none", "log_completions": True, "num_completions_to_print": 1},
}


class Proposer:
    """Asks about a row in each proposal, but for those with the numbers in `failed`."""

    def __init__(self, *failed: int) -> None:
        self.asked = 0
        self._failed = failed

    def __call__(self, policy: str, request: int, member: int) -> str:
        if "proposer" not in policy:
            return reasoning((3, 5, 5, 9)[member])
        self.asked += 1
        row = self.asked % 3 + 1
        return FAILED if self.asked in self._failed else f"<question>What is the sum of row {row}?</question>"


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    return list(read_lines(run / f"{name}.jsonl"))


def test_an_update_trains_the_questions_that_it_has(tmp_path: Path) -> None:
    """In five updates of two proposals, the fourth, and both of the third update, hold no question."""
    rollouts = OfflineRollouts(Proposer(4, 5, 6))
    offline_trainer(offline_settings(tmp_path, **FIELDS), rollouts).go()
    run = tmp_path / "run"
    metrics, groups = lines(run, "metrics"), lines(run, "groups")
    assert [line["update"] for line in metrics] == [1, 2, 3, 4, 5]
    assert [line["solver/groups_left_out"] for line in metrics] == [0, 1, 2, 0, 0]
    assert [line.get("solver/rollouts_trained", 0) for line in metrics] == [8, 4, 0, 8, 8]
    assert [line["solver/proposals_without_question"] for line in metrics] == [0, 0.5, 1, 0, 0]
    answered = sum(len(requests) for name, requests in rollouts.calls if "solver" in name)
    assert answered == 7

    assert [group["update"] for group in groups] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [len(group["rollouts"]) for group in groups] == [4, 4, 4, 0, 0, 0, 4, 4, 4, 4]
    assert [group["proposal"] == FAILED for group in groups] == [not group["rollouts"] for group in groups]
    assert [bool(group["fingerprint"]) for group in groups] == [bool(group["rollouts"]) for group in groups]
    assert {frozenset(group) for group in groups} == {frozenset(groups[0])}, "equal fields in each line"

    tables = sorted((run / "checkpoints" / "completions").glob("*.parquet"))
    assert [pq.read_metadata(table).num_rows for table in tables] == [8, 4, 0, 8, 8]
    report = write_report(run).read_text()
    assert FAILED in report
    assert "(7 groups)" in report


def test_a_resumed_run_knows_them(tmp_path: Path) -> None:
    """The figures over several updates count them, before and after."""
    shares = []
    for folder, resumed in (("whole", False), ("resumed", True)):
        where = tmp_path / folder
        where.mkdir()
        proposer = Proposer(4, 5, 6)
        if resumed:
            offline_trainer(
                offline_settings(where, **FIELDS | {"updates": 3}, progress_updates=5),
                OfflineRollouts(proposer),
            ).go()
        settings = offline_settings(where, **FIELDS, resume=resumed, progress_updates=5)
        offline_trainer(settings, OfflineRollouts(proposer)).go()
        logged = lines(where / "run", "metrics")
        shares.append([line.get("solver/questions_distinct_recent") for line in logged])
    assert shares[0] == shares[1] == [None, 0.75, 0.25, 0.5, 0.75]
