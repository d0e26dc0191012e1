"""`ireasoner import` and `audit` of the file that the explorer exports."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.commands import audit, import_
from ireasoner.reward_server.ledger import whole_group
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.ledger.schema import UNKNOWN
from ireasoner.reward_server.scoring_config import ROBUST
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, scored_for_proposer, sent
from tests.reward_server.past_runs import run_line, write_lines

Json = dict[str, Any]
OF_A_LEDGER = ("id", "run", "question_id", "newer", "older", "flipped")
"""What a group's figures have that depends on the ledger around it."""


PROPOSED = sent(["7", "8"], "p")
RECORDS: dict[str, Record] = {
    "plain": record(sent(["7", "7", "8"])),
    "of an update": record(sent(["7", "8"], question="2 + 5?"), update=3, source="run", progress=0.25),
    "of the Proposer": record(
        groups=[{"group": PROPOSED, "scored": scored_for_proposer(PROPOSED)}],
        update=4,
        source="run",
        endpoint="proposer",
    ),
    "with its image and labels": record(
        sent(["7"], question="?", image="a" * 64, labels=["7.0"]), config=ROBUST
    ),
    "of another experiment": record(sent(["7"]), experiment="alpha", source="run", update=0),
    "with an unknown config": record(sent(["7"]), config_label=UNKNOWN, embedder=UNKNOWN),
    "of a changed config": record(
        sent(["7"]), config_label="robust+", config=ROBUST.model_copy(update={"alpha": 0.5})
    ),
    "invalid": record(sent([None, None])),
    "late": record(sent(["7"]), received_s=1_900_000_000.5, request_id="another"),
    "hostile": record(sent(["<b>\u202e7\x1b[31m"], "\x00 {}", question="有多少？"), source="a/b \x1b"),
    "two": record(sent(["7"], "first"), sent(["8"], "second"), update=2**53 - 1),
}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "imported"


@pytest.fixture
def imported(ledger: Path) -> Callable[..., int]:
    """Runs the command with these words; returns its exit status."""

    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            import_.main([*map(str, words), "--ledger", str(ledger)])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def groups(folder: Path) -> list[Json]:
    """The groups of a ledger as the explorer exports them."""
    ledgers = Ledgers([folder])
    [only] = ledgers
    with only.reading() as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM groups ORDER BY id")]
    found = [whole_group.whole(ledgers, Viewer(None), RecordId(0, each)) for each in ids]
    exported: list[Json] = json.loads(json.dumps(found))
    return exported


def exported(folder: Path, records: Sequence[Record]) -> list[Json]:
    """The export of a new ledger of these records."""
    keep(folder, records)
    return groups(folder)


def lasting(line: Json) -> Json:
    return {name: value for name, value in line.items() if name not in OF_A_LEDGER}


@pytest.mark.parametrize("made", RECORDS.values(), ids=RECORDS)
def test_an_exported_group_is_imported_as_it_was(
    made: Record, tmp_path: Path, ledger: Path, imported: Callable[..., int]
) -> None:
    lines = exported(tmp_path / "first", [made])
    assert imported(write_lines(tmp_path / "groups.jsonl", lines)) == 0
    assert [*map(lasting, groups(ledger))] == [*map(lasting, lines)]


def test_an_export_of_many_runs_is_imported_once_in_whatever_order(
    tmp_path: Path, ledger: Path, imported: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        record(sent(["7", "8"], str(at)), sequence=at + 1, source=source, update=at, request_id=str(at))
        for at, source in enumerate(("one", "two", "one", "two"))
    ]
    lines = exported(tmp_path / "first", records)
    assert imported(write_lines(tmp_path / "a.jsonl", lines[1:])) == 0
    assert imported(write_lines(tmp_path / "b.jsonl", lines[::-1])) == 0
    assert imported(write_lines(tmp_path / "c.jsonl", groups(ledger))) == 0
    said = capsys.readouterr().out
    assert "1 group was imported" in said
    assert "4 groups were in it already" in said
    assert {(each["source"], each["update"]) for each in groups(ledger)} == {
        ("one", 0), ("two", 1), ("one", 2), ("two", 3)
    }  # fmt: skip


def test_a_flag_names_another_run_or_experiment(
    tmp_path: Path, ledger: Path, imported: Callable[..., int]
) -> None:
    lines = exported(tmp_path / "first", [RECORDS["of another experiment"]])
    file = write_lines(tmp_path / "groups.jsonl", lines)
    assert imported(file, "--source", "mine") == imported(file, "--experiment", "e") == imported(file) == 0
    assert imported(file, "--source", "mine") == 0, "known"
    assert [(each["experiment"], each["source"]) for each in groups(ledger)] == [
        ("alpha", "mine"),
        ("e", "run"),
        ("alpha", "run"),
    ]


def test_a_config_of_another_version_is_not_known(
    tmp_path: Path, ledger: Path, imported: Callable[..., int]
) -> None:
    [line] = exported(tmp_path / "first", [RECORDS["plain"]])
    line["config"]["template_guard"] = True
    assert imported(write_lines(tmp_path / "groups.jsonl", [line])) == 0
    assert groups(ledger)[0]["config_label"] == UNKNOWN


def test_a_config_that_an_export_does_not_know_is_that_of_the_flag(
    tmp_path: Path, ledger: Path, imported: Callable[..., int]
) -> None:
    for name in ("with an unknown config", "of a changed config"):
        lines = exported(tmp_path / name, [RECORDS[name]])
        assert imported(write_lines(tmp_path / f"{name}.jsonl", lines), "--config", "robust") == 0
    assert [each["config_label"] for each in groups(ledger)] == ["robust", "robust+"]


def nested(depth: int) -> Json:
    return {} if depth == 0 else {"in": nested(depth - 1)}


BAD: dict[str, tuple[Json, str]] = {
    "no run": ({"source": None}, "source"),
    "an empty run": ({"source": ""}, "source"),
    "a long run": ({"source": "x" * 257}, "source"),
    "another endpoint": ({"endpoint": "judge"}, "endpoint"),
    "a negative update": ({"update": -1}, "update"),
    "a large update": ({"update": 2**53}, "update"),
    "half an update": ({"update": 0.5}, "update"),
    "progress beyond 1": ({"progress": 1.5}, "progress"),
    "a time as text": ({"received_s": "now"}, "received_s"),
    "a time beyond all": ({"received_s": 1e300}, "received_s"),
    "no rollouts": ({"sent": {"id": "g", "rollouts": []}}, "rollouts"),
    "no group": ({"sent": 3}, "sent"),
    "no scores": ({"scored": {}}, "id"),
    "no embedder": ({"embedder": None}, "embedder"),
    "scores of other rollouts": ({"sent": sent(["7", "8"], "second")}, "the group"),
    "nested too deep": ({"sent": nested(280)}, "a field has a wrong form: Recursion"),
}


@pytest.mark.parametrize(("changes", "reason"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_and_skipped(
    changes: Json,
    reason: str,
    tmp_path: Path,
    ledger: Path,
    imported: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, other = exported(tmp_path / "first", [RECORDS["two"]])
    file = write_lines(tmp_path / "groups.jsonl", [good, {**other, **changes}, "{", run_line(0, ["7"])])
    assert imported(file) == 1
    assert len(groups(ledger)) == 1
    said = capsys.readouterr().err
    assert f"{file}, line 2: {reason}" in said
    assert "line 3: not JSON" in said
    assert "line 4: a line of another kind of file: a run's groups, among an export" in said


def test_an_export_is_audited_run_by_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        record(sent(["7", "7", "8"], str(at)), feed=source, sequence=at + 1, source=source, update=at)
        for at in range(6)
        for source in ("one", "two")
    ]
    file = write_lines(tmp_path / "groups.jsonl", exported(tmp_path / "first", records))
    with pytest.raises(SystemExit) as ended:
        audit.main([str(file)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "one: fine\n  6 updates" in said
    assert "two: fine\n  6 updates" in said
