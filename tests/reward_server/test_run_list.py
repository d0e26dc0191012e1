"""The list of runs: the pace of each, and totals over all runs, listed or not, without evicted groups."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ireasoner.reward_server.ledger import run_list, schema
from ireasoner.reward_server.ledger.eviction import evict_oldest
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent

OPERATOR = Viewer(None)


@pytest.mark.parametrize(
    ("arrivals_s", "pace"),
    [
        ([100.0], None),
        ([100.0] * 1_001, None),
        ([100.0, 100.9], None),
        ([100.0, 101.0], 120.0),
        ([100.0, 160.0], 2.0),
        ([100.0 + second for second in range(31)], 62.0),
        ([0.0, *[1_000.0 + 30 * minute for minute in range(11)]], 2.0),
        ([0.0, 10_000.0], 0.2),
        ([0.002 * index for index in range(3_000)], 30_000 * 1_000 / 999),
    ],
    ids=[
        "one",
        "an-import",
        "within-a-second",
        "a-second",
        "a-minute",
        "half-a-minute",
        "after-a-break",
        "one-after-a-break",
        "fast",
    ],
)
def test_the_pace_is_over_the_time_in_which_groups_came(
    arrivals_s: Sequence[float], pace: float | None, tmp_path: Path
) -> None:
    group = sent(["7"])
    keep(
        tmp_path,
        [record(group, sequence=at, received_s=each) for at, each in enumerate(arrivals_s, start=1)],
    )
    [run] = run_list.runs(Ledgers([tmp_path]), OPERATOR, None).runs
    assert run.groups_per_minute == (None if pace is None else pytest.approx(pace))


def test_totals_are_of_what_is_held_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups have as many rollouts as the number of their update, plus one."""
    monkeypatch.setattr(run_list, "MOST_RUNS", 2)
    folders = [tmp_path / "a", tmp_path / "b"]
    sequence = 0
    for folder in folders:
        for update in range(3):
            for source in ("1", "2", "3"):
                sequence += 1
                group = sent(["7"] * (update + 1))
                experiment = "x" if source == "3" else "y"
                keep(
                    folder,
                    [record(group, sequence=sequence, experiment=experiment, source=source, update=update)],
                )
    ledgers = Ledgers(folders)
    answer = run_list.runs(ledgers, OPERATOR, None)
    assert (len(answer.runs), answer.ledger.groups, answer.ledger.rollouts) == (2, 18, 36)
    connection = schema.open_to_write(folders[0])
    counts = {None: (18, 36, 0), "x": (6, 12, 0), "y": (12, 24, 0)}
    for evicted, of in ((1, "y"), (1, "y"), (1, "x"), (2, "y"), (2, "y"), (2, "x"), (3, "y")):
        assert evict_oldest(connection, folders[0]).groups == 1
        for name in (None, of):
            groups, rollouts, gone = counts[name]
            counts[name] = (groups - 1, rollouts - evicted, gone + 1)
        if evicted == 3:  # nothing is left of the run: who may see it is not known any more
            counts[of] = (*counts[of][:2], counts[of][2] - 3)
        for name, (groups, rollouts, gone) in counts.items():
            found = run_list.runs(ledgers, Viewer(name), None).ledger
            assert (found.groups, found.rollouts, found.evicted_groups) == (groups, rollouts, gone)
    connection.close()
