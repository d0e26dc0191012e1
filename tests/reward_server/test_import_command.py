"""`ireasoner import`: which lines become groups, and what is skipped or refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.reward_server.commands import import_
from ireasoner.reward_server.ledger import eviction, importing, schema, whole_group
from ireasoner.reward_server.ledger.images import image_file
from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.lock import Lock
from ireasoner.reward_server.ledger.record import unpacked
from tests.reward_server.past_runs import (
    early_line,
    proposer_line,
    run_line,
    scored_line,
    sent_line,
    write_lines,
    write_run,
)

Command = Callable[..., int]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def imported(ledger: Path) -> Command:
    """Runs the command with these words; returns its exit status."""

    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            import_.main([*map(str, words), "--ledger", str(ledger)])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def rows(ledger: Path, query: str) -> list[tuple[Any, ...]]:
    connection = schema.open_to_read(ledger)
    try:
        return [tuple(row) for row in connection.execute(query)]
    finally:
        connection.close()


def documents(ledger: Path) -> list[dict[str, Any]]:
    return [unpacked(row[0]) for row in rows(ledger, "SELECT document FROM documents ORDER BY group_id")]


def test_a_run_folder_becomes_a_run_with_its_updates_questions_and_labels(
    tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        run_line(0, ["7", "7", "8", None], truth="7"),
        proposer_line(1),
        run_line(2, ["8", "8", "8", "7"], truth="7"),
        run_line(3, ["1", "2", "3", "4"], question=None),
        run_line(4, [], question=None, status=None, dominant_share=None),
    ]
    assert imported(write_run(tmp_path / "first", lines, config="robust", overrides={"alpha": 0.5})) == 0
    assert rows(ledger, "SELECT experiment, source FROM runs") == [("-", "first")]
    assert "2 lines were left out: there are no answers to import" in capsys.readouterr().out
    assert rows(ledger, "SELECT at, endpoint, dominant_answer, correct, flipped FROM groups ORDER BY id") == [
        (1, "solver", "7", 1, None),
        (3, "solver", "8", 0, 1),
        (4, "solver", "1", None, None),
    ]
    [(label, config)] = rows(ledger, "SELECT config_label, config FROM scorings")
    assert (label, json.loads(config)["alpha"], json.loads(config)["equivalence"]) == (
        "robust+",
        0.5,
        "value",
    )
    first = documents(ledger)[0]
    assert first["group"]["labels"] == ["7"]
    assert first["group"]["rollouts"][0]["finish_reason"] == "stop"
    assert first["scored"]["clusters"] == [{"answer": "7", "count": 2}, {"answer": "8", "count": 1}]
    assert first["scored"]["rollouts"][0]["steps"][0] == {"text": "north", "cosine": 0.9, "weight": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        early_line(0, ["7", "7", None]),
        run_line(0, [None, None]),  # no rollout has an answer
        run_line(0, ["7", "7"], question="x" * 60_000),
        run_line(0, ["7", "7"], question="有多少？ \u202e <script>"),
        run_line(2**53 - 2, ["7", "7"]),
    ],
)
def test_lines_of_any_version_are_taken(
    line: dict[str, Any], tmp_path: Path, ledger: Path, imported: Command
) -> None:
    assert imported(write_run(tmp_path / "run", [line])) == 0
    assert len(documents(ledger)) == 1


def test_importing_again_adds_nothing_and_a_longer_file_adds_the_rest(
    tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [run_line(update, ["7", "8"]) for update in range(5)]
    run = write_run(tmp_path / "run", lines[:3])
    assert imported(run) == imported(run) == 0
    assert "3 groups were in it already" in capsys.readouterr().out
    before = rows(ledger, "SELECT * FROM points WHERE unit = 'update'")
    assert imported(write_run(tmp_path / "copies" / "run", lines)) == 0
    assert [row[0] for row in rows(ledger, "SELECT at FROM groups ORDER BY id")] == [1, 2, 3, 4, 5]
    assert rows(ledger, "SELECT * FROM points WHERE unit = 'update'")[:3] == before
    assert imported(run, "--source", "other") == 0
    assert rows(ledger, "SELECT count(*) FROM groups") == [(8,)], "another run"


def test_a_line_is_forgotten_with_its_group(tmp_path: Path, ledger: Path, imported: Command) -> None:
    """Nothing grows with the lines that were ever imported."""
    run = write_run(tmp_path / "run", [run_line(update, ["7", "7", "8"]) for update in range(5)])
    assert imported(run) == 0
    connection = schema.open_to_write(ledger)
    while eviction.evict_oldest(connection, ledger):
        pass
    left = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("groups", "documents", "questions", "points", "runs", "scorings", "feeds")
    }
    connection.close()
    assert left == dict.fromkeys(left, 0)
    assert imported(run) == 0
    assert rows(ledger, "SELECT at FROM groups ORDER BY id") == [(update + 1,) for update in range(5)]


def test_an_interrupted_import_goes_on_where_it_ended(
    tmp_path: Path, ledger: Path, imported: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LINES_PER_TRANSACTION", 2)
    run = write_run(tmp_path / "run", [run_line(update, ["7", "8"]) for update in range(7)])
    inserted: list[int] = []

    def dying(connection: Any, record: Any) -> list[int]:
        inserted.append(record.update)
        if len(inserted) == 6:
            raise KeyboardInterrupt
        return insert(connection, record)

    def counted(connection: Any, record: Any) -> list[int]:
        inserted.append(record.update)
        return insert(connection, record)

    monkeypatch.setattr(importing, "insert", dying)
    assert imported(run) == 130
    assert rows(ledger, "SELECT count(*) FROM groups") == [(4,)], "whole transactions"
    monkeypatch.setattr(importing, "insert", counted)
    assert imported(run) == 0
    assert inserted == [1, 2, 3, 4, 5, 6, 5, 6, 7]
    assert rows(ledger, "SELECT at FROM groups ORDER BY id") == [(at,) for at in range(1, 8)]


BAD = [
    ("{", "not JSON"),
    ("[]", "not a JSON object"),
    ("{}", "not a group"),
    (json.dumps({"role": "solver"}), "'rollouts' is missing"),
    (json.dumps(run_line(-1, ["7"])), "update: -1"),
    (json.dumps(run_line(0, ["7"], progress=2)), "progress: 2"),
    (json.dumps(run_line(True, ["7"])), "update: True"),
    (json.dumps(run_line(2**53 - 1, ["7"])), "update: 9007199254740991"),
    (json.dumps(run_line(0, ["7"], rollouts=[])), "rollouts: List should have at least 1 item"),
    (json.dumps(run_line(0, ["7"], rollouts=[{"text": 3}])), "'answer' is missing"),
    (json.dumps(run_line(0, ["7"], rollouts=None)), "a field has a wrong form"),
    (json.dumps(run_line(0, ["7"], dominant_share="most")), "dominant_share"),
    (json.dumps(run_line(0, ["7"], fingerprint=None)), "is not a text"),
    (json.dumps(run_line(0, ["7"], question="x" * 70_000)), "question"),
    (json.dumps(sent_line("q", ["7"])), "among a run's groups"),
    ('{"role": "solver", "update": NaN}', "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("\ufeff{}", "not JSON"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_named_and_skipped(
    bad: str, reason: str, tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", [run_line(0, ["7"]), bad, run_line(1, ["7"])])
    assert imported(run) == 1
    assert rows(ledger, "SELECT at FROM groups") == [(1,), (2,)]
    said = capsys.readouterr().err
    assert f"{run / 'groups.jsonl'}, line 2: " in said
    assert reason in said
    assert "1 line was skipped" in said


def test_bad_lines_are_skipped_at_the_start_too_and_the_first_ones_are_named(
    tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(write_run(tmp_path / "run", ["{"] * 30 + [run_line(0, ["7"])])) == 1
    assert rows(ledger, "SELECT at FROM groups") == [(1,)]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 11
    assert "30 lines were skipped" in said[-1]


def test_a_last_line_that_is_still_being_written_is_left_for_the_next_time(
    tmp_path: Path, ledger: Path, imported: Command
) -> None:
    run = write_run(tmp_path / "run", [run_line(0, ["7"])])
    with (run / "groups.jsonl").open("a") as file:
        file.write(json.dumps(run_line(1, ["7"])))
    assert imported(run) == 0
    assert rows(ledger, "SELECT at FROM groups") == [(1,)]


@pytest.mark.parametrize(
    "as_given", [str, lambda run: f"{run}/groups.jsonl", lambda run: f"{run}/../{run}/."]
)
def test_runs_keep_the_names_of_their_folders(
    as_given: Callable[[str], str],
    tmp_path: Path,
    ledger: Path,
    imported: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("first", "second"):
        write_run(tmp_path / run, [run_line(0, ["7"])])
    assert imported(as_given("first"), as_given("second")) == 0
    monkeypatch.chdir(tmp_path / "first")
    assert imported("groups.jsonl") == imported(".") == imported("groups.jsonl", ".") == 0
    found = rows(ledger, "SELECT source, count(*) FROM groups JOIN runs ON runs.id = run_id GROUP BY 1")
    assert found == [("first", 1), ("second", 1)]


@pytest.mark.parametrize("flags", [[], ["--source", "one"]])
def test_two_runs_of_one_name_are_refused(
    flags: list[str], tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "one" if flags else "run"
    for seed in ("0", "1"):
        write_run(tmp_path / seed / "run", [run_line(0, ["7"])])
    assert imported(tmp_path / "0" / "run", tmp_path / "1" / "run" / "groups.jsonl", *flags) == 2
    assert f"are both called {name!r}: import each alone, with its own --source" in capsys.readouterr().err
    assert rows(ledger, "SELECT count(*) FROM groups") == [(0,)]


@pytest.mark.parametrize("endpoint", ["solver", "outcome", "trajectory", "proposer"])
@pytest.mark.parametrize("detail", ["full", "rewards"])
def test_what_reward_score_read_and_wrote_belongs_together(
    endpoint: str, detail: str, tmp_path: Path, ledger: Path, imported: Command
) -> None:
    answers = {"a": ["7", "7", "8"], "b": ["1", "2", "2"]}
    sent = write_lines(tmp_path / "groups.jsonl", [sent_line(*each) for each in answers.items()])
    lines = [scored_line(*each, endpoint, detail) for each in reversed(answers.items())]
    scored = write_lines(tmp_path / "scores.jsonl", lines)
    assert imported(sent, scored) == 0
    found = rows(ledger, "SELECT name, endpoint, dominant_answer, rollouts FROM groups ORDER BY id")
    assert found == [("b", endpoint, "2", 3), ("a", endpoint, "7", 3)]
    assert [each["group"]["rollouts"][0]["text"][-10] for each in documents(ledger)] == ["1", "7"]
    assert rows(ledger, "SELECT source FROM runs") == [("scores",)]
    assert imported(sent, scored) == 0
    assert rows(ledger, "SELECT count(*) FROM groups") == [(2,)]


def test_scores_alone_are_groups_of_answers_and_steps(
    tmp_path: Path, ledger: Path, imported: Command
) -> None:
    assert imported(write_lines(tmp_path / "scores.jsonl", [scored_line("a", ["7", "8"])])) == 0
    [document] = documents(ledger)
    assert document["group"]["rollouts"][0] == {"id": "0", "answer": "7", "steps": ["north", "north east"]}


def test_scores_of_another_file_and_groups_without_scores_are_left_out(
    tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = write_lines(tmp_path / "in.jsonl", [sent_line("a", ["7", "8"]), sent_line("b", ["7"])])
    scored = write_lines(
        tmp_path / "out.jsonl", [scored_line("a", ["7"]), scored_line("c", ["7"], "proposer")]
    )
    assert imported(sent, scored) == 1
    output = capsys.readouterr()
    assert "line 1: the group 'a' that was scored has other rollouts" in output.err
    assert "line 2: scores for the Proposer list no rollouts" in output.err
    assert "1 group was left out: no given file has scores for it" in output.out


@pytest.mark.parametrize("bad", [["a"], {"a": 1}, 3, 1.5, True, None])
def test_an_id_that_is_no_text_makes_a_bad_line(
    bad: object, tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[Any] = [sent_line("a", ["7"]), {**sent_line("b", ["7"]), "id": bad}, "{", {"rollouts": []}]
    scored = [{**scored_line("b", ["7"]), "id": bad}, scored_line("a", ["7"])]
    files = [
        write_lines(tmp_path / f"{name}.jsonl", lines) for name, lines in (("in", sent), ("out", scored))
    ]
    assert imported(*files) == 1
    assert rows(ledger, "SELECT name FROM groups") == [("a",)]
    said = capsys.readouterr().err
    for file, line in ((files[0], 2), (files[1], 1)):
        assert f"{file}, line {line}: id: {str(bad)!r} is not a text" in said
    assert f"{files[0]}, line 3: not JSON" in said
    assert f"{files[0]}, line 4: the field 'id' is missing" in said


def test_the_config_of_files_that_do_not_say_can_be_given(
    tmp_path: Path, ledger: Path, imported: Command
) -> None:
    scored = write_lines(tmp_path / "scores.jsonl", [scored_line("a", ["7"])])
    assert imported(scored) == 0
    assert imported(scored, "--experiment", "e", "--config", '{"preset": "robust", "alpha": 1.0}') == 0
    assert rows(ledger, "SELECT config_label FROM scorings ORDER BY id") == [("unknown",), ("robust+",)]


@pytest.mark.parametrize(
    ("endpoint", "flags", "step_weight"),
    [
        ("solver", [], None),
        ("solver", ["--progress", "0.5"], None),
        ("solver", ["--config", "paper"], 0.7),
        ("solver", ["--config", "paper", "--progress", "0.65"], 0.35),
        ("solver", ["--config", "paper", "--progress", "0"], 0.0),
        ("outcome", ["--config", "paper"], None),
    ],
)
def test_a_step_weight_is_shown_if_the_config_is_known(
    endpoint: str,
    flags: list[str],
    step_weight: float | None,
    tmp_path: Path,
    ledger: Path,
    imported: Command,
) -> None:
    scored = write_lines(tmp_path / "scores.jsonl", [scored_line("a", ["7"], endpoint)])
    assert imported(scored, *flags) == 0
    shown = whole_group.whole(Ledgers([ledger]), Viewer(None), RecordId(0, 1))
    assert shown["step_weight"] == (None if step_weight is None else pytest.approx(step_weight))
    assert shown["progress"] == (float(flags[-1]) if "--progress" in flags else 1.0)


@pytest.mark.parametrize("settings", ["", "[]", "{}", '{"reward": {"config": "mine"}}', '{"reward": 3}'])
def test_settings_that_do_not_name_a_preset_leave_the_config_unknown(
    settings: str, tmp_path: Path, ledger: Path, imported: Command
) -> None:
    run = write_run(tmp_path / "run", [run_line(0, ["7"])])
    (run / "settings.json").write_text(settings)
    assert imported(run) == 0
    assert rows(ledger, "SELECT config_label FROM scorings") == [("unknown",)]


def test_images_that_still_exist_are_put_into_the_store(
    tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "one.png"
    Image.new("RGB", (30, 20), "red").save(image)
    (tmp_path / "text.png").write_text("no image")
    lines = [
        run_line(0, ["7"], image=str(image)),
        run_line(1, ["7"], image=str(image)),
        run_line(2, ["7"], image=str(tmp_path / "text.png")),
        run_line(3, ["7"], image="a\0b"),
        run_line(4, ["7"]),
    ]
    assert imported(write_run(tmp_path / "run", lines), "--experiment", "e") == 0
    assert [row[0] for row in rows(ledger, "SELECT flipped FROM groups ORDER BY id")][2:] == [None] * 3
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    first, second, *missing = [each["group"]["image"] for each in documents(ledger)]
    assert first == second == sha256
    assert len(set(missing)) == 3, "each is known by its path"
    assert image_file(ledger, sha256).read_bytes() == image.read_bytes()
    assert rows(ledger, "SELECT sha256, experiment FROM images") == [(sha256, "e")]
    assert "3 groups are without their image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "none", "there is no such file"),
        (lambda folder: folder, "contains no run: groups.jsonl is missing"),
        (lambda folder: write_lines(folder / "empty.jsonl", []), "is empty"),
        (lambda folder: write_lines(folder / "x.jsonl", ["{}"]), "line 1: not a group"),
        (lambda folder: write_lines(folder / "x.jsonl", ["\x89PNG"]), "line 1: not JSON"),
        (
            lambda folder: write_lines(folder / "x.jsonl", [sent_line("a", ["7"])]),
            "score it with reward-score",
        ),
    ],
)
def test_what_is_no_file_of_groups_is_refused(
    make: Callable[[Path], Path],
    reason: str,
    tmp_path: Path,
    ledger: Path,
    imported: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert imported(make(tmp_path)) == 2
    assert reason in capsys.readouterr().err
    assert not ledger.exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ("--config", "papr"),
            "there is no preset 'papr'; did you mean paper?; the presets are paper, robust",
        ),
        (("--config", "{"), "config"),
        (("--config", '{"alhpa": 1}'), "alhpa"),
        (("--experiment", ""), "experiment"),
        (("--sorce", "x"), "did you mean --source?"),
    ],
)
def test_a_wrong_flag_is_named(
    words: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    imported: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert imported(write_run(tmp_path / "run", [run_line(0, ["7"])]), *words) == 2
    assert reason in capsys.readouterr().err


def test_a_ledger_that_a_server_records_into_is_refused(
    tmp_path: Path, ledger: Path, imported: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", [run_line(0, ["7"])])
    with Lock(ledger):
        assert imported(run) == 2
    assert "records into" in capsys.readouterr().err
    assert imported(run) == 0
