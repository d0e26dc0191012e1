"""`ireasoner graft` as its page shows it, and what it answers to a mistake and to a signal."""

import json
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import CliApp
from transformers import LlavaConfig

from ireasoner.cli.__main__ import main
from ireasoner.trainer.commands import graft
from ireasoner.trainer.commands.graft_card import graft_card
from ireasoner.trainer.commands.settings import EvaluateSettings, GraftSettings
from ireasoner.trainer.graft.self_distillation import Student
from ireasoner.trainer.graft.tower import Reading, read_held_out
from ireasoner.trainer.tiny_model.__main__ import main as tiny_model
from tests.conftest import MODEL
from tests.graft.tiny_text import build_gguf

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "graft.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
GRAFTS = [command for command in COMMANDS if command.startswith("ireasoner graft")]
EYES = "models/qwen-eyes"
WARM = ["--warm-start-updates", "1", "--prompts-per-update", "2", "--max-new-tokens", "3"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of the test's own, and few digits to read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(graft, "read_held_out", partial(read_held_out, grids=10))
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("?")


@pytest.mark.parametrize("command", GRAFTS)
def test_a_graft_of_the_page_works(
    command: str, text_folder: Path, seeing_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer updates, as the last flags say, and of a tiny model: no hub is asked."""
    words = shlex.split(command)[1:]
    model, folder = words[words.index("--model") + 1], Path(words[words.index("--output") + 1])
    if model.endswith(".gguf"):
        build_gguf(text_folder, Path(model))
    else:
        shutil.copytree(seeing_folder if model == EYES else text_folder, model)
    short = WARM if model == EYES else ["--tower-updates", "2", *WARM]
    main([*words, *short])
    shown = capsys.readouterr().out
    assert ("vision tower: 2 of 2 after" in shown) == (model != EYES), "a tower is trained once"
    assert re.search(r"vision tower: reads [\d.]+% of 90 held-out handwritten digits", shown)
    assert re.search(r"warm start, divergence \d\.\d{3}: 1 of 1 after", shown)
    assert re.search(r"warm start: divergence [\d.]+ \(.*\) before, [\d.]+ \(.*\) after", shown)
    card = (folder / "README.md").read_text()
    assert f"# {folder.name}: {Path(model).name} with eyes" in card
    assert "base_model:" not in card, "a file of this machine"
    assert re.search(r"\| digits read correctly, of 90 \| [01]\.\d{3} \|", card)
    assert len(re.findall(r"^\| .*nats per token \| \d+\.\d{3} \|$", card, re.MULTILINE)) == 2
    seed = "1" if model == EYES else "0"
    assert f" {shlex.join(short)} --seed {seed}\n" in card
    assert str(Path.cwd()) not in card


@pytest.mark.slow
def test_the_training_of_the_page_can_be_planned(
    seeing_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(seeing_folder, EYES)
    Path("configs").symlink_to(ROOT / "configs")
    render, serve, train, evaluate = (shlex.split(command) for command in COMMANDS if command not in GRAFTS)
    assert render[:3] == ["python", "-m", "ireasoner.trainer.tiny_model"]
    tiny_model([*render[3:], "--unlabelled", "4", "--held-out", "1"])
    assert serve[:5] == ["rollout-server", "--model", EYES, "--port", "8020"]
    assert serve[5:] == ["--max-lora-rank", "16", "--dtype", "bfloat16"]
    main([*train[1:], "--dry-run"])
    shown = capsys.readouterr().out
    assert "total memory, estimated" in shown
    assert "backbone in bfloat16" in shown
    settings = CliApp.run(EvaluateSettings, evaluate[2:])
    assert settings.questions.is_file()
    assert settings.run_folder == Path(train[train.index("--run-folder") + 1])


def test_every_flag_of_the_page_is_one() -> None:
    named = set(re.findall(r"`--([a-z-]+)`", PAGE))
    assert named == {name.replace("_", "-") for name in GraftSettings.model_fields}


def test_a_signal_ends_the_warm_start_and_what_was_learnt_is_written(
    seeing_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Student.learn

    def interrupted(student: Student, *arguments: Any) -> Iterator[float]:
        for divergence in learn(student, *arguments):
            signal.raise_signal(signal.SIGTERM)
            yield divergence

    monkeypatch.setattr(Student, "learn", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["graft", "--model", str(seeing_folder), "--output", "out", *WARM, "--warm-start-updates", "9"])
    assert ended.value.code == 128 + signal.SIGTERM
    assert "checkpoint in out" in capsys.readouterr().out
    assert (
        "9 updates of 2 prompts. It was stopped after 1, and not measured."
        in Path("out/README.md").read_text()
    )
    written, original = (Path(folder, "model.safetensors").read_bytes() for folder in ("out", seeing_folder))
    assert len(written) == len(original)
    assert written != original


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "text"], "--output is required"),
        (["--model", "text", "--output", "taken"], "output: taken exists already"),
        (["--model", "text", "--output", "file/x"], "output: "),
        (["--model", "taken", "--output", "out"], "model: taken cannot be read"),
        (["--model", "nowhere/at/all", "--output", "out"], "cannot be read: there is no such folder"),
        (
            ["--model", "file", "--output", "out"],
            "file is a file: give the folder that holds config.json, or a GGUF file",
        ),
        (["--model", "m", "--output", "out", "--tower-updates", "0"], "tower_updates: "),
        (["--model", "m", "--output", "out", "--tower-update", "1"], "did you mean --tower-updates?"),
        (["--model", "eyes", "--output", "out", "--warm-start-updates", "0"], "nothing is left to do"),
        (
            ["--model", "eyes", "--output", "out", "--tower-updates", "9"],
            "tower_updates: eyes has a vision tower",
        ),
        (["--model", "llava", "--output", "out"], "llava has a vision tower that graft did not make"),
        (["--model", "tiny", "--output", "out"], "tiny has a vision tower that graft did not make"),
        (["--model", "large", "--output", "out"], "large has a vision tower that graft did not make"),
    ],
)
def test_a_mistake_gets_a_plain_message_and_leaves_nothing(
    words: list[str], message: str, seeing_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("eyes").symlink_to(seeing_folder)
    Path("tiny").symlink_to(MODEL)
    LlavaConfig().save_pretrained("llava")
    shutil.copytree(seeing_folder, "large")
    file = Path("large/processor_config.json")
    config = json.loads(file.read_text())
    config["image_processor"]["size"]["longest_edge"] *= 4
    file.write_text(json.dumps(config))
    with pytest.raises(SystemExit) as ended:
        main(["graft", *words])
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not Path("out").exists()
    assert not Path(".out.partial").exists()


def test_a_graft_without_a_warm_start_says_so(text_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(text_folder), "--output", "out", "--tower-updates", "1"]
    main(["graft", *words, "--warm-start-updates", "0"])
    assert "warm start" not in capsys.readouterr().out
    assert "There was no warm start" in Path("out/README.md").read_text()


def test_the_card_of_a_model_of_the_hub_names_it() -> None:
    settings = GraftSettings(model="Qwen/Qwen2.5-0.5B-Instruct", output=Path("models/eyes"))
    card = graft_card(settings, Reading(3600, 0.98), None, tower_trained=True)
    assert "\nbase_model: Qwen/Qwen2.5-0.5B-Instruct\n" in card
    assert "# eyes: Qwen/Qwen2.5-0.5B-Instruct with eyes" in card
    assert "--model Qwen/Qwen2.5-0.5B-Instruct --output eyes --tower-updates 1000 " in card
