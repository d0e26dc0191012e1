"""docs/atlas.md: its commands work, its output is that of the code, and its example is a group."""

import json
import re
import shlex
from pathlib import Path

import pytest

from ireasoner.cli.__main__ import main
from ireasoner.reward_server import wire
from ireasoner.reward_server.commands.atlas_figures import Difference, Share
from ireasoner.reward_server.commands.atlas_page import Atlas, Method
from ireasoner.trainer.evaluation.evaluation_file import answers_path, answers_to
from ireasoner.trainer.evaluation.questions import BadLine, Question
from ireasoner.trainer.evaluation.replies import Reply
from scripts.atlas_docs import example, page

QUESTIONS = (
    Question(Path("a.png"), "Which?", "cat", line=2, matching="choice", choices=("cat", "dog")),
    Question(Path("a.png"), "What is it?", "dog", line=3),
)
REPLIES = [
    Reply(question, b"", greedy="<answer>A</answer>", sampled=["<answer>A</answer>", "<answer>dog</answer>"])
    for question in QUESTIONS
]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "atlas.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def test_every_command_of_the_page_works(
    tmp_path: Path, compass: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IREASONER_ATLAS_EMBEDDER", "token-mean")
    monkeypatch.setenv("IREASONER_ATLAS_TOKEN_MEAN_CHECKPOINT", str(compass))
    Path("groups.jsonl").write_text(example(groups=6), encoding="utf-8")
    for command in COMMANDS:
        name, *words = shlex.split(command)
        assert name == "ireasoner"
        if words[0] == "evaluate":
            figures = Path(words[words.index("--output") + 1])
            with answers_to(answers_path(figures)) as answers:
                answers.add_bad_lines([BadLine(1, "not JSON")])
                answers.add(REPLIES)
            continue
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, (command, capsys.readouterr().err)
    assert Path("atlas.svg").read_text(encoding="utf-8").startswith("<svg")
    assert len(COMMANDS) == 6


def test_the_page_shows_what_the_command_prints(compass: Path) -> None:
    assert page(PAGE, "--embedder", "token-mean", "--token-mean-checkpoint", str(compass)) == PAGE
    assert "not scored:" in PAGE


def test_leaving_out_hard_groups_does_not_win() -> None:
    def method(name: str, label: float, groups: int, less: float | None) -> Method:
        difference = None if less is None else Difference(less, None, None, None, None, groups)
        share = Share(label, 0.0, 1.0, groups)
        return Method(name, {}, share, share, difference, {})

    atlas = Atlas(
        groups=9,
        rollouts=9,
        accuracy=0.5,
        against="vote",
        methods=[
            method("apart", 1.0, 1, None),
            method("strict", 0.9, 2, -0.1),
            method("vote", 0.6, 9, None),
            method("better", 0.7, 9, 0.1),
            method("absent", 0.0, 0, None),
        ],
    )
    assert [one.name for one in atlas.best_first] == ["better", "vote", "strict", "apart"]


def test_the_example_of_a_line_is_a_group() -> None:
    [block] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    group = wire.Group.model_validate(json.loads(block))
    assert group.labels == ["7"]
