"""The command `reward-score`, against the real app."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.clients import codec, sync_client
from ireasoner.clients.group_lines import GroupLines
from ireasoner.clients.score import main
from ireasoner.clients.wire import ScoreRequest
from tests.reward_server.requests import group, rollout, score


def write(file: Path, *lines: object) -> str:
    file.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return str(file)


def test_a_file_is_scored_in_order(
    compass_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [group([rollout(str(i), "east")] * 2, f"g{i}") for i in range(40)]
    parsed = {"id": "parsed", "rollouts": [{"id": "0", "answer": "7", "steps": ["east"]}]}
    file = write(tmp_path / "groups.jsonl", *groups, "\n", parsed)
    assert main([file, "--url", compass_url, "--groups-per-request", "3", "--progress", "0.5"]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["id"] for line in lines] == [f"g{i}" for i in range(40)] + ["parsed"]
    assert lines[0]["rollouts"][0]["reward"] == pytest.approx(1.0)
    assert len({line["fingerprint"] for line in lines}) == 1
    assert not captured.err, "no count without a terminal"


class Terminal(io.StringIO):
    """A standard error on a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_many_groups_are_scored(
    compass_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "groups.jsonl", *(group(["a"], f"g{i}") for i in range(3)))
    options = [
        "--output",
        str(tmp_path / "scores.jsonl"),
        "--groups-per-request",
        "2",
        "--retry-budget-s",
        "0",
    ]
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert main([file, "--url", compass_url, *options]) == 0
    assert terminal.getvalue() == "\r2 groups scored\r3 groups scored\n"
    monkeypatch.setattr("sys.stderr", failed := Terminal())
    assert main([file, "--url", "http://127.0.0.1:9", *options]) == 1
    assert len(failed.getvalue().splitlines()) == 1, "only the error is shown if nothing was scored"


@pytest.mark.parametrize("detail", ["full", "rewards"])
@pytest.mark.parametrize("config", ["paper", "robust"])
@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver", "proposer"])
def test_a_line_is_the_servers_answer(
    compass_http: httpx.Client, tmp_path: Path, endpoint: str, config: str, detail: str
) -> None:
    agreeing = [rollout("1/2", "east", "south east"), rollout("0.5", "south", "east", "north")]
    groups = [
        group([*agreeing, rollout("2", "west"), rollout(None, "east")], "g"),
        group(["none"], "invalid"),
    ]
    output = tmp_path / "scores.jsonl"
    options = ["--endpoint", endpoint, "--config", config, "--detail", detail, "--output", str(output)]
    assert (
        main([write(tmp_path / "groups.jsonl", *groups), "--url", str(compass_http.base_url), *options]) == 0
    )
    answer = score(compass_http, endpoint, *groups, config=config, detail=detail)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert lines == [each | {"fingerprint": answer["fingerprint"]} for each in answer["groups"]]


def test_options_reach_the_server(compass_url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", group([rollout("7"), rollout("8"), rollout("8"), rollout("8")]))
    output = tmp_path / "out.jsonl"
    options = ["--endpoint", "outcome", "--config", '{"alpha": 2}', "--detail", "rewards"]
    assert main([file, "--url", compass_url, "--output", str(output), *options]) == 0
    line = json.loads(output.read_text())
    assert line["rollouts"][0]["reward"] == 0.0625
    assert "clusters" not in line
    assert "steps" not in line["rollouts"][0]


def test_context_reaches_the_server_and_changes_no_score(
    compass_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[ScoreRequest] = []

    def encode(request: ScoreRequest) -> bytes:
        sent.append(request)
        return codec.encode_request(request)

    monkeypatch.setattr(sync_client, "encode_request", encode)
    plain = group([rollout("7"), rollout("8"), rollout("7")])
    context = {"question": "How many?", "image": "0" * 64, "labels": ["8"]}
    files = [write(tmp_path / "plain.jsonl", plain), write(tmp_path / "full.jsonl", {**plain, **context})]
    scores = []
    for file, options in zip(files, ([], ["--source", "run-1"]), strict=True):
        output = tmp_path / "scores.jsonl"
        assert main([file, "--url", compass_url, "--output", str(output), *options]) == 0
        scores.append(output.read_text())
    assert scores[0] == scores[1]
    without, full = sent
    assert not without.has_context
    assert full.source == "run-1"
    assert [full.groups[0].question, full.groups[0].image, full.groups[0].labels] == list(context.values())


def test_standard_input(
    compass_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(group([rollout("7")]))))
    assert main(["-", "--url", compass_url, "--endpoint", "proposer"]) == 0
    assert "rollouts" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("{\n", "groups.jsonl:2: Expecting property name enclosed in double quotes: column 2\n"),
        ("[]", "groups.jsonl:2: not an object"),
        ('{"rollouts": []}', "groups.jsonl:2: id is missing"),
        ('{"id": "g", "rollouts": []}', "groups.jsonl:2: rollouts is missing, empty"),
        ('{"id": "g", "rollouts": [{"id": "0"}]}', "groups.jsonl:2: rollout '0' needs either"),
        ('{"id": "g", "rollouts": [{"id": "0", "txt": "a"}]}', "rollouts[0] has unknown fields ['txt']"),
        (
            '{"id": "g", "rollouts": [{"id": "0", "answer": "a", "steps": "3"}]}',
            "steps is not a list of strings",
        ),
        (
            '{"id": "g", "rollouts": [{"id": "0", "answer": "a", "steps": [3]}]}',
            "steps is not a list of strings",
        ),
        ('{"id": "g", "rollouts": [{"id": "0", "text": 5}]}', "rollouts[0].text is not a string"),
        ('{"id": "g", "rollouts": [{"id": "0", "text": "a"}], "question": 5}', "question is not a string"),
        ('{"id": "g", "rollouts": [{"id": "0", "text": "a"}], "image": "a.png"}', "image is not a SHA-256"),
        ('{"id": "g", "rollouts": [{"id": "0", "text": "a"}], "image": ["a"]}', "image is not a string"),
        (
            '{"id": "g", "rollouts": [{"id": "0", "text": "a"}], "labels": "7"}',
            "labels is not a list of strings",
        ),
        (
            '{"id": "g", "rollouts": [{"id": "0", "text": "a"}], "labels": [7]}',
            "labels is not a list of strings",
        ),
        ('{"id": "g", "rollouts": [{"id": "0", "text": "a"}], "update": 1}', "unknown fields ['update']"),
    ],
)
def test_a_bad_line_is_reported_with_its_number(
    compass_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, shown: str
) -> None:
    file = write(tmp_path / "groups.jsonl", group(["a"]), line)
    assert main([file, "--url", compass_url, "--groups-per-request", "1"]) == 2
    assert shown in capsys.readouterr().err


def test_a_refusal_names_the_line_in_the_file(
    compass_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups: list[Any] = ["\n", *(group(["a"], f"g{i}") for i in range(50))]
    groups[41] = group(["a" * 300_018], "g40")
    file = write(tmp_path / "late.jsonl", *groups)
    assert main([file, "--url", compass_url, "--output", str(tmp_path / "scores.jsonl")]) == 1
    shown = capsys.readouterr().err
    assert f"{file}:42 (id 'g40'): rollouts[0].text: 300018 characters" in shown
    assert "groups[" not in shown
    assert len(shown.splitlines()) == 1
    groups[41] = {"id": "g40", "rollouts": [{"id": "0", "text": "a"}] * 2}
    groups[42] = group(["a"], "x" * 257)
    assert main([write(tmp_path / "late.jsonl", *groups), "--url", compass_url]) == 1
    shown = capsys.readouterr().err
    assert f"{file}:42 (id 'g40'): rollouts: the id '0' is used more than once" in shown
    assert f"{file}:43 (id '{'x' * 257}'): id: " in shown


def test_a_path_outside_of_all_groups_is_unchanged() -> None:
    lines = GroupLines(io.StringIO(json.dumps(group(["a"]))), "groups.jsonl")
    assert len(list(lines)) == 1
    for path in ("config.alhpa", "groups", "groups[1].rollouts"):
        assert lines.locate(path, 0) == path
    assert lines.locate("groups[0]", 0) == "groups.jsonl:1 (id 'g')"


def test_a_repeated_id_is_refused_however_far_apart(
    compass_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "groups.jsonl", *(group(["a"], f"g{i % 37}") for i in range(3, 50)))
    assert main([file, "--url", compass_url, "--output", str(tmp_path / "scores.jsonl")]) == 2
    assert capsys.readouterr().err == f"reward-score: {file}:38: the id 'g3' is already used on line 1\n"
    assert not (tmp_path / "scores.jsonl").exists()


@pytest.mark.parametrize("progress", ["2", "-.1", "nan", "half"])
def test_a_malformed_progress_is_refused(capsys: pytest.CaptureFixture[str], progress: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["groups.jsonl", f"--progress={progress}"])
    assert ended.value.code == 2
    assert "is not a number in [0, 1]" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
def test_an_infinite_budget_is_refused(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["groups.jsonl", f"--retry-budget-s={seconds}"])
    assert ended.value.code == 2
    assert f"{seconds!r} is not a finite number of seconds" in capsys.readouterr().err


def test_json_that_is_nested_too_deeply_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deep.jsonl"
    file.write_text("[" * 100_000 + "\n")
    assert main([str(file), "--url", "http://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err == f"reward-score: {file}:1: nested too deeply\n"


def test_progress_is_for_the_solver(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["groups.jsonl", "--endpoint", "outcome", "--progress", "0.5"])
    assert ended.value.code == 2
    assert "--progress is for --endpoint solver only" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5"])
def test_a_malformed_count_is_refused(capsys: pytest.CaptureFixture[str], count: str) -> None:
    with pytest.raises(SystemExit):
        main(["groups.jsonl", f"--in-flight={count}"])
    assert f"{count!r} is not a whole number of at least 1" in capsys.readouterr().err


def test_refusals_and_an_unreachable_server_are_reported(
    compass_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "groups.jsonl", group(["a"]))
    assert main([file, "--url", compass_url, "--config", "nope"]) == 1
    assert capsys.readouterr().err.count("there is no config 'nope'") == 1
    assert main([file, "--url", "http://127.0.0.1:9", "--retry-budget-s", "0"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
    assert main([file, "--url", compass_url, "--config", '{"alpha": NaN}']) == 2
    assert "JSON" in capsys.readouterr().err
    assert main([absent := str(tmp_path / "absent.jsonl")]) == 2
    assert capsys.readouterr().err == f"reward-score: {absent}: No such file or directory\n"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8010", "localhost:8010", "reward.example", "ftp://a", "http://", ""]
)
def test_a_malformed_address_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    file = write(tmp_path / "groups.jsonl", group(["a"]))
    output = tmp_path / "scores.jsonl"
    output.write_text("yesterday's\n")
    assert main([file, "--url", url, "--output", str(output), "--retry-budget-s", "3600"]) == 2
    assert f"{url!r} is not a server's address; write it like http://" in capsys.readouterr().err
    assert output.read_text() == "yesterday's\n"


def test_it_ends_quietly_when_its_reader_closes_the_pipe(compass_url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "groups.jsonl", *(group(["a"], str(number)) for number in range(40)))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ireasoner.clients.score", file, "--url", compass_url]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert ended.returncode == 128 + signal.SIGPIPE
    assert not ended.stderr


def test_an_output_file_is_kept_if_the_run_fails(compass_url: str, tmp_path: Path) -> None:
    output, partial = tmp_path / "scores.jsonl", tmp_path / "scores.jsonl.partial"
    output.write_text("yesterday's\n")
    output.chmod(0o640)

    def run(*lines: object, url: str = compass_url) -> int:
        file = write(tmp_path / "groups.jsonl", *lines)
        options = ["--retry-budget-s", "0", "--groups-per-request", "1", "--in-flight", "1"]
        return main([file, "--url", url, "--output", str(output), *options])

    assert run(group(["a"]), url="http://127.0.0.1:9") == 1
    assert (output.read_text(), partial.exists()) == ("yesterday's\n", False)
    assert run(group(["a"], "first"), group(["b"], "second"), group(["c"], "third"), "{") == 2
    assert output.read_text() == "yesterday's\n"
    assert json.loads(partial.read_text().splitlines()[0])["id"] == "first", "finished scores are kept, too"
    assert run(group(["a"], "first")) == 0
    assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == ["first"]
    assert (partial.exists(), output.stat().st_mode & 0o777) == (False, 0o640)


def test_a_pipe_is_written_to_as_it_is(compass_url: str, tmp_path: Path) -> None:
    file, pipe = write(tmp_path / "groups.jsonl", group(["a"])), tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert main([file, "--url", compass_url, "--output", str(pipe)]) == 0
    assert json.loads(os.read(reading, 2**16))["id"] == "g"
    os.close(reading)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["groups.jsonl", "pipe"]


def test_the_help_explains_the_format_and_the_exit_status() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ireasoner.clients.score", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for needed in ("JSON lines", "--endpoint", "--config", "examples:", "exit status"):
        assert needed in shown.stdout
