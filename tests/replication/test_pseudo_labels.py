"""How often dominant answers are true, in logged groups."""

import json
from pathlib import Path
from typing import Any

import pytest

from replication.pseudo_labels import by_votes, main


def group(*rollouts: tuple[str, str], truth: str, progress: float = 0.2) -> dict[str, Any]:
    """A logged group of (answer, step)."""
    answers = [answer for answer, _ in rollouts]
    dominant = max(answers, key=answers.count)
    return {
        "role": "solver",
        "progress": progress,
        "dominant_answer": dominant,
        "dominant_share": answers.count(dominant) / len(answers),
        "rollouts": [
            {"text": f"<think>\nStep 1: {step}\n</think>\n<answer>{answer}</answer>"}
            for answer, step in rollouts
        ],
        "shadow": {"right": [answer == truth for answer in answers], "pseudo_label_right": dominant == truth},
    }


COPIES = group(
    *[("9", "4 + 4 = 9.")] * 4,
    ("8", "4 + 4 = 8."),
    ("8", "3 + 5 = 8."),
    ("8", "5 + 3 = 8."),
    ("1", "1."),
    truth="8",
)
AGREED = group(*[("8", "4 + 4 = 8.")] * 8, truth="8")
LATE = group(*[("7", "4 + 4 = 7.")] * 8, truth="8", progress=0.9)


def test_groups_are_counted_by_votes() -> None:
    found = {one["votes"]: (one["groups"], one["true"]["mean"]) for one in by_votes([COPIES, AGREED, LATE])}
    assert found == {4: (1, 0.0), 8: (2, 0.5)}


def test_copies_lose_the_majority_if_they_count_less(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "outcome-only" / "0"
    (folder / "run").mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    lines = [COPIES, AGREED, LATE, {"role": "proposer", "progress": 0.1}]
    (folder / "run" / "groups.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SystemExit) as ended:
        main(["--runs", str(tmp_path / "runs"), "--until", "0.5", "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    found = json.loads((tmp_path / "out" / "pseudo_labels.json").read_text())
    shares = {
        one["distinct_exponent"]: (one["true"]["mean"], one["gain"]["mean"]) for one in found["by_exponent"]
    }
    assert shares[0.0] == (0.5, 0.0)
    assert shares[0.75] == (1.0, 0.5)
    assert "| 0.75 | 1.000" in (tmp_path / "out" / "pseudo_labels.md").read_text()


def test_missing_runs_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--runs", str(tmp_path)])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(tmp_path) in line
    assert "has no complete run" in line
