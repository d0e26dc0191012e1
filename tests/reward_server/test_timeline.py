"""The timeline's figures, which are those of the audit and of the list of runs."""

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.ledger import auditing, run_list
from ireasoner.reward_server.ledger.ledger_wire import EndpointName
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.timeline import timeline
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, scored, sent

OPERATOR = Viewer(None)
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


SEEN = {
    "one": [7],
    "few": [0, 1, 2],
    "two far apart": [0, 10**9],
    "as many as points": [*range(48)],
    "one more": [*range(49)],
    "many": [*range(0, 1_000)],
    "with gaps": [*range(0, 500, 7), 900, 901],
}
"""Updates of a run with a group each."""


@pytest.mark.parametrize("updates", SEEN.values(), ids=SEEN)
def test_the_list_and_the_timeline_end_with_the_same_update(updates: list[int], tmp_path: Path) -> None:
    """The newest update alone: neither a mean with those before it, nor a later one of the Proposer."""
    answers = {at: ["7"] * (1 + at % 3) + ["8"] for at in updates}
    proposer = [each + 1 for each in updates]
    keep(
        tmp_path,
        [
            *(
                record(sent(answers[at], str(at)), sequence=index + 1, update=at)
                for index, at in enumerate(updates)
            ),
            *(
                record(
                    sent(["1", "2"], str(at)), feed="p", sequence=index + 1, update=at, endpoint="proposer"
                )
                for index, at in enumerate(proposer)
            ),
        ],
    )
    ledgers = Ledgers([tmp_path])
    [run] = run_list.runs(ledgers, OPERATOR, None).runs
    assert (run.endpoint, run.last_update) == ("solver", proposer[-1])
    assert len(run.dominant_share) == len(run.reward) <= run_list.COURSE
    share = (len(answers[updates[-1]]) - 1) / len(answers[updates[-1]])
    for most in (1, 2, 20, 48, 400, 2_000):
        points = timeline(ledgers, OPERATOR, RecordId(0, 1), run.endpoint, None, None, most).points
        assert len(points) <= most
        assert sum(point.groups for point in points) == len(updates)
        assert all(before.until < after.at for before, after in pairwise(points))
        if most > 1:
            assert (points[-1].at, points[-1].until) == (updates[-1], updates[-1])
            assert points[-1].dominant_share == run.dominant_share[-1] == pytest.approx(share)
            assert points[-1].reward == run.reward[-1]


def test_the_list_names_the_endpoint_whose_figures_it_has(tmp_path: Path) -> None:
    sets = [called for count in range(1, 5) for called in combinations(get_args(EndpointName), count)]
    records = [
        record(sent(["7"]), feed=f"{called} {each}", source=" ".join(called), endpoint=each)
        for called in sets
        for each in called
    ]
    keep(tmp_path, records)
    runs = run_list.runs(Ledgers([tmp_path]), OPERATOR, None).runs
    assert len(runs) == len(sets) == 15
    for run in runs:
        assert run.endpoint == next(each for each in run_list.SHOWN if each in run.source.split())
