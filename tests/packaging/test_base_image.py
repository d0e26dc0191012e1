"""The images build on one exact version of a base image, whose digest the releaser fills in."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

FILES = [
    "compose.yaml",
    "README.md",
    "reward-server.Dockerfile",
    "rollout-server.Dockerfile",
    "trainer.Dockerfile",
]
IMAGE = re.compile(r"python:[^\s|}]+")
EXACT = r"python:\d+\.\d+\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?"


def bases(folder: Path) -> set[str]:
    """What each file of a folder names as its base image."""
    named = {file: IMAGE.findall((folder / file).read_text()) for file in FILES}
    assert all(named.values()), named
    return {each for several in named.values() for each in several}


def pinned(folder: Path, digest: str) -> subprocess.CompletedProcess[str]:
    """Runs `pin-base` with a registry that names this digest for any image."""
    engine = folder / "bin" / "docker"
    engine.parent.mkdir(exist_ok=True)
    engine.write_text(f'#!/bin/sh\necho "$*" >>"{folder}/asked"\necho "{digest}"\n')
    engine.chmod(0o755)
    path = f"{engine.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(folder / "pin-base")],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in [*FILES, "pin-base"]:
        shutil.copy(ROOT / "docker" / file, tmp_path)
    return tmp_path


def test_every_file_names_one_exact_version() -> None:
    [base] = bases(ROOT / "docker")
    assert re.fullmatch(EXACT, base)
    offline = re.findall(r"python:[\w.-]+", (ROOT / "docker" / "base-image").read_text())
    assert offline == [base.partition("@")[0]]


def test_the_digest_is_filled_in_and_renewed(folder: Path) -> None:
    [before] = bases(folder)
    tag = before.partition("@")[0]
    for digest in (f"sha256:{'a' * 64}", f"sha256:{'0123456789abcdef' * 4}"):
        ended = pinned(folder, digest)
        assert ended.returncode == 0, ended.stderr
        assert bases(folder) == {f"{tag}@{digest}"}
    asked = (folder / "asked").read_text().splitlines()
    assert len(set(asked)) == 1
    assert tag in asked[0]
    assert "@" not in asked[0], "the registry is asked about the tag"


@pytest.mark.parametrize("digest", ["", "sha256:abc", "latest", f"sha256:{'A' * 64}"])
def test_a_registry_that_names_no_digest_changes_nothing(folder: Path, digest: str) -> None:
    before = {file: (folder / file).read_text() for file in FILES}
    ended = pinned(folder, digest)
    assert ended.returncode == 1
    assert "names no digest" in ended.stderr
    assert {file: (folder / file).read_text() for file in FILES} == before
