"""The timeline's figures, which are those of the audit."""

from pathlib import Path
from typing import Any

import pytest

from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.ledger import auditing
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.timeline import timeline
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, scored, sent

FLAT, SPREAD = ["7", "7"], ["7", "7", "8"]


def judged(answers: list[str], *, has_rewards: bool = True) -> dict[str, Any]:
    group = sent(answers)
    found = scored(group)
    for each in found["rollouts"] if not has_rewards else ():
        each |= {"status": "abstain", "reward": None, "outcome": None}
    return {"group": group, "scored": found}


@pytest.mark.parametrize(
    ("groups", "flat_share"),
    [
        ([judged(FLAT), judged(SPREAD)], 0.5),
        ([judged(FLAT), judged(SPREAD), judged(FLAT, has_rewards=False)], 0.5),
        ([judged(FLAT), judged(FLAT, has_rewards=False), judged(SPREAD, has_rewards=False)], 1.0),
        ([judged(SPREAD), judged(FLAT, has_rewards=False)], 0.0),
        ([judged(FLAT, has_rewards=False)], None),
    ],
)
def test_groups_without_rewards_have_no_spread_to_lack(
    groups: list[dict[str, Any]], flat_share: float | None, tmp_path: Path
) -> None:
    keep(tmp_path, [record(update=at, sequence=at + 1, groups=groups) for at in range(6)])
    ledgers = Ledgers([tmp_path])
    [point] = timeline(ledgers, Viewer(None), RecordId(0, 1), None, None, None, 1).points
    assert point.flat_share == flat_share
    [ledger] = ledgers
    with ledger.reading() as connection:
        figures = auditing.audit_run(connection, 1, Thresholds()).audit.figures
    assert {each.name: each.now for each in figures}.get("flat_share") == flat_share
