"""`ireasoner audit`: the verdict on runs from ledgers, run folders and files."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.commands import audit
from ireasoner.reward_server.ledger import auditing, schema
from ireasoner.reward_server.ledger.auditing import AuditedRun
from ireasoner.reward_server.ledger.eviction import evict_oldest
from ireasoner.reward_server.ledger.insert import insert
from tests.reward_server.ledger_records import record, sent
from tests.reward_server.past_runs import run_line, scored_line, sent_line, write_lines, write_run

Command = Callable[..., int]
MIXED = ["7", "7", "7", "8", "9"]
ALIKE = ["7"] * 5
APART = ["7", "7", "1", "2", "3"]


@pytest.fixture
def audited() -> Command:
    """Runs the command with these words; returns its exit status."""

    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            audit.main([*map(str, words)])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def steady(answers: Sequence[str | None] = MIXED, updates: int = 24, **changes: Any) -> list[dict[str, Any]]:
    """Lines of a run whose updates are alike, two groups each."""
    return [
        run_line(update, answers, question=f"Question {update} {index}?", **changes)
        for update in range(updates)
        for index in range(2)
    ]


def turned(late: Sequence[str | None], **changes: Any) -> list[dict[str, Any]]:
    """Lines of a run whose last half gives other answers."""
    return steady()[:24] + steady(late, **changes)[24:]


def test_a_steady_run_is_fine(tmp_path: Path, audited: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(write_run(tmp_path / "run", steady())) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'run'}: fine" in shown
    assert "24 updates, the first 8 against the last 8" in shown
    for row in (
        "answer_entropy_nats                      0.500     0.500   from 0.100",
        "dominant_share                           0.600     0.600   0.540 to 0.970",
        "flat_share                               0.000     0.000   up to 0.800",
        "steps                                    2.000     2.000",
    ):
        assert f"  {row}\n" in shown


@pytest.mark.parametrize(
    ("lines", "sign"),
    [
        (turned(ALIKE), "answers_all_agree"),
        (turned(APART), "agreement_fell"),
        (turned(MIXED, steps=["x"] * 30), "length_grew"),
        (turned(MIXED, entropy_nats=0.01), "entropy_fell"),
        (steady(truth="7")[:24] + steady(["8", "8", "8", "7", "9"], truth="7")[24:], "pseudo_labels_fell"),
        (steady()[:24] + [run_line(update, MIXED) for update in range(12, 24)], "questions_repeat"),
    ],
)
def test_a_collapse_ends_with_3_and_says_why(
    lines: list[dict[str, Any]],
    sign: str,
    tmp_path: Path,
    audited: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audited(write_run(tmp_path / "run", lines)) == 3
    shown = capsys.readouterr().out
    assert ": collapse likely" in shown
    assert f"! {sign} since update " in shown


def test_json_has_what_the_table_has(
    tmp_path: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    fine, bad = write_run(tmp_path / "a", steady()), write_run(tmp_path / "b", turned(ALIKE))
    assert audited(fine, bad, "--json", "--window", "5") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "collapse likely"
    assert found["thresholds"]["window"] == 5
    assert [(run["source"], run["verdict"], run["window"]) for run in found["runs"]] == [
        (str(fine), "fine", 5),
        (str(bad), "collapse likely", 5),
    ]
    sign = found["runs"][1]["signs"][0]
    assert set(sign) == {"name", "figure", "since", "reason", "decides", "source"}


def test_a_threshold_can_be_moved_and_is_printed(
    tmp_path: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", turned(APART))
    assert audited(run) == 3
    assert "0.600     0.400   0.540 to 0.970\n" in capsys.readouterr().out
    assert audited(run, "--agreement-share", "0.5") == 0
    assert "0.600     0.400   0.300 to 0.970\n" in capsys.readouterr().out


def test_too_few_updates_are_no_verdict(
    tmp_path: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(write_run(tmp_path / "run", steady(updates=5))) == 0
    shown = capsys.readouterr().out
    assert ": too early" in shown
    assert "5 updates; an audit needs 6" in shown


@pytest.mark.parametrize(
    ("lengths", "verdict", "status"),
    [
        (("short",), "too early", 0),
        (("short", "short"), "too early", 0),
        (("short", "fine"), "fine", 0),
        (("fine", "bad", "short"), "collapse likely", 3),
    ],
)
def test_the_verdict_on_all_runs_is_the_worst(
    lengths: tuple[str, ...],
    verdict: str,
    status: int,
    tmp_path: Path,
    audited: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = {"short": steady(updates=5), "fine": steady(), "bad": turned(ALIKE)}
    runs = [write_run(tmp_path / str(index), lines[each]) for index, each in enumerate(lengths)]
    assert audited(*runs, "--json") == status
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict


def test_files_of_reward_score_have_no_updates_and_are_audited_by_the_minute(
    tmp_path: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    sent_file = write_lines(tmp_path / "in.jsonl", [sent_line("a", MIXED)])
    scored = write_lines(tmp_path / "out.jsonl", [scored_line("a", MIXED)])
    assert audited(sent_file, scored) == 0
    assert "1 minute; an audit needs 6" in capsys.readouterr().out


def test_lines_that_are_left_out_are_named(
    tmp_path: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(write_run(tmp_path / "run", [*steady(), "{"])) == 0
    assert "line 49: not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("none",), "there is no such file"),
        ((".",), "contains no run: groups.jsonl is missing"),
        ((), "are required: INPUTS"),
        (("none", "--window", "1"), "window"),
        (("none", "--entropy-shar", "1"), "did you mean --entropy-share?"),
    ],
)
def test_a_wrong_input_ends_with_2(
    words: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    audited: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert audited(*words) == 2
    assert reason in capsys.readouterr().err


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with two runs of one experiment, of which one collapses, and one of another."""
    folder = tmp_path / "ledger"
    connection = schema.open_to_write(folder)
    sequence = 0
    for experiment, source, late in (("a", "good", MIXED), ("a", "bad", APART), ("b", "\x1b[31mred", MIXED)):
        for update in range(12):
            sequence += 1
            group = sent(MIXED if update < 6 else late, str(sequence), question=f"Question {update}?")
            insert(
                connection,
                record(group, sequence=sequence, experiment=experiment, source=source, update=update),
            )
    connection.close()
    return folder


def test_the_runs_of_a_ledger_are_audited_and_can_be_chosen(
    ledger: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(ledger) == 3
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line and not line.startswith(" ")] == [
        "a bad: collapse likely",
        "a good: fine",
        "b \N{REPLACEMENT CHARACTER}[31mred: fine",
    ]
    assert audited(ledger, "--run", "good") == audited(ledger, "--experiment", "b") == 0
    assert audited(ledger.parent, "--run", "bad") == 3, "a folder of ledgers"
    assert audited(ledger, "--experiment", "none") == 2


def test_a_ledger_that_is_damaged_in_the_middle_ends_with_2(
    ledger: Path, audited: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ledger / schema.FILE
    content = bytearray(file.read_bytes())
    content[8_192:] = b"\xff" * len(content[8_192:])
    file.write_bytes(content)
    assert audited(ledger) == 2
    assert (
        "ireasoner audit: the ledger cannot be used: database disk image is malformed"
        in capsys.readouterr().err
    )


def test_the_proposer_s_groups_do_not_count_beside_the_solver_s(tmp_path: Path) -> None:
    connection = schema.open_to_write(tmp_path)
    for update in range(12):
        insert(connection, record(sent(MIXED, f"s{update}"), feed=f"s{update}", update=update))
        of_proposer = record(sent(ALIKE, f"p{update}"), feed=f"p{update}", update=update, endpoint="proposer")
        insert(connection, of_proposer)
    found = auditing.audit_run(connection, 1, Thresholds())
    assert found.audit.updates == 12
    assert {figure.name: figure.now for figure in found.audit.figures}["dominant_share"] == pytest.approx(0.6)
    connection.execute("DELETE FROM points WHERE endpoint <> 'proposer'")
    alone = auditing.audit_run(connection, 1, Thresholds())
    assert {figure.name: figure.now for figure in alone.audit.figures}["dominant_share"] == 1.0
    connection.close()


def figures_of(found: AuditedRun) -> dict[str, tuple[float | None, float | None]]:
    return {figure.name: (figure.first, figure.now) for figure in found.audit.figures}


@pytest.mark.parametrize("unit", ["update", "minute"])
def test_an_evicted_start_hides_no_collapse(tmp_path: Path, unit: str) -> None:
    """The figures that need groups start with those that are left, and are left out once these are too few."""
    connection = schema.open_to_write(tmp_path)
    for update in range(30):
        group = sent(MIXED, str(update), question=f"Question {min(update, 15)} about dots {min(update, 15)}?")
        changes = {
            "received_s": 1_800_000_000.0 + 60 * update,
            "update": update if unit == "update" else None,
        }
        insert(connection, record(group, sequence=update + 1, **changes))
    limits = Thresholds(window=5)
    names = {"questions_distinct_recent", "questions_near_duplicate_recent", "template_share"}
    whole = figures_of(auditing.audit_run(connection, 1, limits))
    assert whole["questions_distinct_recent"] == (1.0, 0.2)
    for evicted, expected in ((8, (1.0, 0.2)), (13, (0.6, 0.2)), (20, (0.2, 0.2)), (21, None), (29, None)):
        while groups_held(connection) > 30 - evicted:
            evict_oldest(connection, tmp_path)
        found = auditing.audit_run(connection, 1, limits)
        figures = figures_of(found)
        assert (found.unit, found.evicted_groups, found.audit.updates) == (unit, evicted, 30)
        assert figures.get("questions_distinct_recent") == expected
        assert bool(names & figures.keys()) == (expected is not None)
        assert figures["words"] == whole["words"], "sums of evicted groups still count"
    connection.close()


def groups_held(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM groups").fetchone()[0])


@pytest.mark.parametrize("reads_texts", [False, True])
def test_the_work_does_not_grow_with_the_groups(tmp_path: Path, reads_texts: bool) -> None:
    """The virtual machine's steps of an audit, for runs with 4 and with 40 groups in each update."""
    steps = []
    for groups in (4, 40):
        connection = schema.open_to_write(tmp_path / str(groups))
        connection.execute("BEGIN")
        for update in range(12):
            many = [sent(MIXED, str(index), question=f"{update} {index}?") for index in range(groups)]
            insert(connection, record(*many, sequence=update + 1, update=update))
        connection.execute("COMMIT")
        taken: list[None] = []
        connection.set_progress_handler(partial(taken.append, None), 100)
        auditing.audit_run(connection, 1, Thresholds(), reads_texts=reads_texts)
        steps.append(len(taken))
        connection.close()
    assert steps[1] < 4 * steps[0] + 10, steps
