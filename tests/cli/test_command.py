"""The command `ireasoner`: its help, and what it answers to a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ireasoner.cli.__main__ import SUBCOMMANDS, main
from tests.conftest import MODEL

IMPORTED_BY_HELP = """
import sys
before = set(sys.modules)
from ireasoner.cli.__main__ import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
imported = {name for name in set(sys.modules) - before if name.split(".")[0] not in sys.stdlib_module_names}
print("imported:", *sorted(imported))
"""


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "ireasoner.cli", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_without_words_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ireasoner")
    for name, subcommand in SUBCOMMANDS.items():
        assert f"  {name:10s} {subcommand.summary}\n" in shown


def test_its_help_imports_the_standard_library_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", IMPORTED_BY_HELP],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    *_, last = ended.stdout.splitlines()
    parts = {".".join(name.split(".")[:2]) for name in last.split()[1:]}
    assert parts == {"ireasoner", "ireasoner.cli", "ireasoner.compat"}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help(name: str, tmp_path: Path) -> None:
    ended = run(name, "--help", folder=tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"usage: ireasoner {name}")
    assert "default: None" not in ended.stdout
    assert "default: null" not in ended.stdout
    assert ended.stderr == ""


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the mistakes below name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / "images" / "one.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    (tmp_path / "typo.toml").write_text("[reward]\nconfg = 'paper'\n")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "config.json").write_text("[]")
    (tmp_path / "text_model").mkdir()
    (tmp_path / "text_model" / "config.json").write_text('{"model_type": "qwen2"}')
    (tmp_path / "unread").mkdir()
    (tmp_path / "unread" / "settings.json").write_text("{")
    (tmp_path / "keyless.jsonl").write_text('{"image": "images/one.png", "question": "?", "anwser": 7}\n')
    return tmp_path


DRY = ["train", "--dry-run", "--model", str(MODEL), "--images", "images", "--run-folder", "run"]
ASK = ["evaluate", "--questions", "keyless.jsonl"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dema"], "ireasoner: there is no command dema; did you mean demo?"),
        (["launch"], "it is one of demo, train, evaluate, export, graft, report"),
        (["train"], "--model is required\n--images is required\n--run-folder is required"),
        (["train", "--config"], "argument --config: expected one argument"),
        (["train", "--config", "empty"], "--config: empty cannot be read: Is a directory"),
        (["train", "--config", "latin.toml"], "--config: latin.toml is not TOML"),
        (
            ["train", "--config", "typo.toml"],
            "reward.confg: there is no such setting; did you mean reward.config?",
        ),
        (["train", "--grpo", "{bad"], "--grpo: write NAME=VALUE or a JSON object"),
        ([*DRY, "--grpo", "loss_type=dapoo"], "grpo.loss_type must be one of"),
        ([*DRY, "--rollout.url", "http://host/v1"], "rollout.url: 'http://host/v1' ends in /v1"),
        ([*DRY, "--model", "file"], "model: file is a file: give the folder that holds config.json"),
        ([*DRY, "--model", "empty"], "model: empty cannot be read"),
        ([*DRY, "--model", "list"], "model: list cannot be read"),
        ([*DRY, "--model", "a/b/c"], "model: a/b/c cannot be read: there is no such folder"),
        (
            [*DRY, "--model", "text_model"],
            "text_model (qwen2) is a text-only model, and training is on images",
        ),
        ([*DRY, "--images", "file"], "images: file is a file of no known kind"),
        ([*DRY, "--run-folder", "file"], "run_folder: file is not a folder"),
        ([*DRY, "--run-folder", "file/run"], "file is not a folder"),
        ([*DRY, "--adapters-folder", "file"], "adapters_folder: file is not a folder"),
        ([*DRY, "--resume"], "run contains no run: settings.json is missing"),
        ([*DRY, "--labels", "nowhere.jsonl"], "labels: nowhere.jsonl is not a file and not module:function"),
        ([*DRY, "--reward.token-file", "empty"], "reward.token_file: empty: Is a directory"),
        ([*DRY, "--reward.function", "no_such:f"], "No module named 'no_such'; is its folder on PYTHONPATH?"),
        ([*DRY, "--reward.function", "json:loads"], "json:loads must take three arguments"),
        (["demo", "--colour", "red"], "--colour: there is no such flag"),
        (["demo", "--images", "images", "--samples", "3"], "--samples needs --questions"),
        (["demo", "--out", "file/demo"], "file is not a folder"),
        (["demo", "--model", "empty"], "model: empty cannot be read"),
        (["demo", "--config", "typo.toml"], "did you mean reward.config?"),
        (ASK, "has no question: line 1: answer is missing; did you mean anwser?"),
        (["evaluate", "--questions", "images"], "questions: images is a folder without data files"),
        ([*ASK, "--url", "host:8020"], "url: 'host:8020' has no scheme: write http://host:8020"),
        ([*ASK, "--output", "images"], "output: images is a folder, not a file"),
        ([*ASK, "--as", "after"], "--run-folder and --as belong together"),
        ([*ASK, "--as", "after", "--run-folder", "empty"], "empty contains no run: settings.json is missing"),
        (["export", "empty", "--output", "out"], "empty contains no run"),
        (["export", "file", "--output", "out"], "file contains no run: file/settings.json: Not a directory"),
        (["report"], "required: RUN-FOLDERS"),
        (["report", "a", "b", "c"], "run_folders: List should have at most 2 items"),
        (["report", "empty", "--output", "images"], "output: images is a folder, not a file"),
    ],
)
@pytest.mark.usefixtures("inputs")
def test_a_mistake_gets_a_plain_message_and_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    shown = capsys.readouterr()
    assert ended.value.code == 2, shown
    assert message in shown.err
    assert len(shown.err.splitlines()) < 8, "no list of all flags"
    assert "Traceback" not in shown.out + shown.err


@pytest.mark.usefixtures("inputs")
def test_a_failure_at_run_time_has_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["report", "unread"], "not JSON"),
        (["report", "/dev/full"], "contains no run"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert message in capsys.readouterr().err
        assert ended.value.code == (1 if words[1] == "unread" else 2)


def test_a_module_that_is_missing_in_the_middle_of_a_command_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'theirs'", name="theirs")

    monkeypatch.setattr("ireasoner.trainer.commands.report.write_report", fail)
    with pytest.raises(ModuleNotFoundError, match="theirs"):
        main(["report", str(tmp_path)])


def test_a_mistake_of_a_real_process_is_on_standard_error(tmp_path: Path) -> None:
    ended = run("train", "--update", "3", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "did you mean --updates?" in ended.stderr
