"""The command `ireasoner`: its help, and what it answers to a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from ireasoner.cli.__main__ import SUBCOMMANDS, main

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
        [sys.executable, "-P", "-c", IMPORTED_BY_HELP], capture_output=True, text=True, timeout=60, check=True
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dema"], "invalid choice: 'dema'"),
        (["demo", "--colour", "red"], "unrecognized arguments: --colour red"),
        (["train", "--config"], "argument --config: expected one argument"),
        (["train", "--grpo", "{bad"], "Parsing error encountered for grpo"),
        (["report"], "required: RUN-FOLDERS"),
        (["report", "a", "b", "c"], "run_folders: List should have at most 2 items"),
    ],
)
def test_a_mistake_gets_a_plain_message(words: list[str], message: str, tmp_path: Path) -> None:
    ended = run(*words, folder=tmp_path)
    assert ended.returncode in (1, 2)
    assert message in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
