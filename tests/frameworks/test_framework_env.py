"""`scripts/framework-env` keeps an environment that is whole and up to date, and makes any other anew."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frameworks.conftest import ROOT

REQUIREMENTS = Path("tests/frameworks/requirements/tiny.txt")
CONSTRAINTS = Path("tests/frameworks/constraints/tiny.txt")
CLIENT = Path("clients/pyproject.toml")
INTERPRETER = """#!/bin/sh
# `-m venv --clear FOLDER` and `-m pip ...` are logged; `-c` imports pip, if there is one.
folder=$(dirname "$(dirname "$0")")
case "$1 $2" in
    "-m venv")
        echo "venv $4" >> "$LOG"
        rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && touch "$4/pip" ;;
    "-m pip")
        [ -e "$folder/pip" ] || { echo "No module named pip" >&2; exit 1; }
        echo "pip $*" >> "$LOG" ;;
    *) [ -e "$folder/pip" ] ;;
esac
"""
"""Stands in for Python: environments in no time, without an index of packages."""


class Checkout:
    """The script, the files that it reads, and a log of what it ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = folder / ".venvs" / "tiny"
        self.log = folder / "log"
        for file in (REQUIREMENTS, CONSTRAINTS, CLIENT):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(f"{file.parent}\n")
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "framework-env", folder / "scripts")
        (folder / "python").write_text(INTERPRETER)
        (folder / "python").chmod(0o755)

    def run(self, *arguments: str) -> tuple[int, int]:
        """How many environments the script makes and how often it installs; it must exit with 0."""
        self.log.write_text("")
        ended = subprocess.run(
            [str(self.folder / "scripts" / "framework-env"), *(arguments or ["tiny"])],
            env={**os.environ, "PYTHON": str(self.folder / "python"), "LOG": str(self.log)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        ran = [line.split()[0] for line in self.log.read_text().splitlines()]
        return ran.count("venv"), ran.count("pip")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout with one framework, whose environment is made."""
    made = Checkout(tmp_path)
    assert made.run() == (1, 1)
    return made


def loses_pip(checkout: Checkout) -> None:
    (checkout.made / "pip").unlink()


def loses_its_interpreter(checkout: Checkout) -> None:
    (checkout.made / "bin" / "python").unlink()


def points_to_an_interpreter_that_is_gone(checkout: Checkout) -> None:
    loses_its_interpreter(checkout)
    (checkout.made / "bin" / "python").symlink_to(checkout.folder / "removed" / "python3.11")


def is_an_empty_folder(checkout: Checkout) -> None:
    shutil.rmtree(checkout.made)
    checkout.made.mkdir()


def was_removed(checkout: Checkout) -> None:
    shutil.rmtree(checkout.made)


def never_finished(checkout: Checkout) -> None:
    (checkout.made / ".installed").unlink()


def never_finished_and_has_no_pip(checkout: Checkout) -> None:
    never_finished(checkout)
    loses_pip(checkout)


def has_other_requirements(checkout: Checkout) -> None:
    (checkout.folder / REQUIREMENTS).write_text("another\n")


def has_other_constraints(checkout: Checkout) -> None:
    (checkout.folder / CONSTRAINTS).write_text("another==2\n")


def has_another_client(checkout: Checkout) -> None:
    (checkout.folder / CLIENT).write_text("another client\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (loses_pip, (1, 1)),
        (loses_its_interpreter, (1, 1)),
        (points_to_an_interpreter_that_is_gone, (1, 1)),
        (is_an_empty_folder, (1, 1)),
        (was_removed, (1, 1)),
        (never_finished_and_has_no_pip, (1, 1)),
        (never_finished, (0, 1)),
        (has_other_requirements, (0, 1)),
        (has_other_constraints, (0, 1)),
        (has_another_client, (0, 1)),
    ],
)
def test_an_environment_that_is_not_whole_is_made_anew(
    checkout: Checkout, change: Callable[[Checkout], None], expected: tuple[int, int]
) -> None:
    """One that is whole but not up to date is kept, and installed into."""
    assert checkout.run() == (0, 0), "nothing has changed"
    change(checkout)
    assert checkout.run() == expected
    assert checkout.run() == (0, 0), "it is whole now"


def test_an_environment_may_have_its_requirements_in_another_folder(checkout: Checkout) -> None:
    for kind in ("requirements", "constraints"):
        (checkout.folder / "benchmarks" / kind).mkdir(parents=True)
        (checkout.folder / "benchmarks" / kind / "other.txt").write_text(f"{kind}\n")
    assert checkout.run("other", "benchmarks") == (1, 1)
    assert "benchmarks/requirements/other.txt" in checkout.log.read_text()
    assert checkout.run("other", "benchmarks") == (0, 0)
    (checkout.folder / "benchmarks" / "constraints" / "other.txt").write_text("newer\n")
    assert checkout.run("other", "benchmarks") == (0, 1)
    assert checkout.run() == (0, 0), "the other one is as it was"
