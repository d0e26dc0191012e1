"""`ireasoner graft` as its page shows it, and what it answers to a mistake."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from ireasoner.cli.__main__ import main
from ireasoner.trainer.commands.settings import GraftSettings
from ireasoner.trainer.tiny_model.__main__ import main as tiny_model
from tests.graft.tiny_text import build_gguf

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "graft.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
SHORT = ["--tower-updates", "2", "--warm-start-updates", "1", "--max-new-tokens", "3"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text_folder: Path) -> None:
    """A working folder in which the page's model is a folder, so that no hub is asked."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(text_folder, tmp_path / "Qwen" / "Qwen2.5-0.5B-Instruct")
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("?")


@pytest.mark.usefixtures("_folder")
def test_the_commands_of_the_page_work(capsys: pytest.CaptureFixture[str], text_folder: Path) -> None:
    """With fewer updates, as the last flags say; the training is planned only."""
    build_gguf(text_folder, Path("qwen2.5-0.5b-instruct-q4_k_m.gguf"))
    grafts = [command for command in COMMANDS if command.startswith("ireasoner graft")]
    assert len(grafts) == 3
    for command in grafts:
        words = shlex.split(command)[1:]
        main([*words, *SHORT])
        folder = Path(words[words.index("--output") + 1])
        shown = capsys.readouterr().out
        assert "held-out handwritten digits" in shown
        assert "warm start: divergence" in shown
        card = (folder / "README.md").read_text()
        assert re.search(r"\| digits read correctly, of 3,600 \| [01]\.\d{3} \|", card)
        assert "--tower-updates 2 --warm-start-updates 1 --max-new-tokens 3 --seed " in card
        assert str(Path.cwd()) not in card
    render, serve, train = (shlex.split(command) for command in COMMANDS if command not in grafts)
    assert render[:3] == ["python", "-m", "ireasoner.trainer.tiny_model"]
    tiny_model([*render[3:], "--unlabelled", "2", "--held-out", "1"])
    assert serve == ["rollout-server", "--model", "models/qwen-eyes", "--port", "8020"]
    main([*train[1:], "--dry-run"])
    assert "total memory, estimated" in capsys.readouterr().out


def test_every_flag_of_the_page_is_one() -> None:
    named = set(re.findall(r"`--([a-z-]+)`", PAGE))
    assert named == {name.replace("_", "-") for name in GraftSettings.model_fields}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "Qwen/Qwen2.5-0.5B-Instruct"], "--output is required"),
        (["--model", "Qwen/Qwen2.5-0.5B-Instruct", "--output", "taken"], "output: taken exists already"),
        (["--model", "Qwen/Qwen2.5-0.5B-Instruct", "--output", "file/x"], "output: "),
        (["--model", "taken", "--output", "out"], "model: taken cannot be read"),
        (["--model", "nowhere/at/all", "--output", "out"], "cannot be read: there is no such folder"),
        (
            ["--model", "file", "--output", "out"],
            "file is a file: give the folder that holds config.json, or a GGUF file",
        ),
        (["--model", "m", "--output", "out", "--tower-updates", "0"], "tower_updates: "),
        (["--model", "m", "--output", "out", "--tower-update", "1"], "did you mean --tower-updates?"),
    ],
)
@pytest.mark.usefixtures("_folder")
def test_a_mistake_gets_a_plain_message_and_leaves_nothing(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["graft", *words])
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not Path("out").exists()
    assert not Path(".out.partial").exists()


def test_a_grafted_model_gets_a_warm_start_or_nothing(
    seeing_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["graft", "--model", str(seeing_folder), "--output", "warm", *SHORT]
    with pytest.raises(SystemExit):
        main([*words, "--warm-start-updates", "0"])
    assert "has a vision tower, so without a warm start nothing is left to do" in capsys.readouterr().err
    main(words)
    shown = capsys.readouterr().out
    assert "vision tower: reads" in shown
    assert "of 2 after" not in shown, "the tower is trained once"
    assert "# warm: tiny-eyes with eyes" in Path("warm/README.md").read_text()
