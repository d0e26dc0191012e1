"""The archives of a release: wheels and sdists are built, and tried in environments that hold nothing else of ours."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Environment, environment
from tests.packaging.test_versions import VERSION
from tests.packaging.test_wheels import names

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist of each distribution, by its name."""
    folder = tmp_path_factory.mktemp("sdists")
    for project in (ROOT / "clients", ROOT):
        build = [
            sys.executable,
            "-P",
            "-m",
            "hatchling",
            "build",
            "--target",
            "sdist",
            "--directory",
            str(folder),
        ]
        subprocess.run(build, cwd=project, check=True, capture_output=True, timeout=240)
    return {file.name.split("-")[0]: file for file in folder.glob("*.tar.gz")}


@pytest.fixture(scope="module")
def from_sdists(tmp_path_factory: pytest.TempPathFactory, sdists: dict[str, Path]) -> dict[str, Path]:
    """The wheels that an installer makes of the sdists."""
    folder = tmp_path_factory.mktemp("from-sdists")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    built = [*pip, "--no-build-isolation", "--wheel-dir", str(folder), *map(str, sdists.values())]
    subprocess.run(built, check=True, timeout=240)
    return {file.name.split("-")[0]: file for file in folder.glob("*.whl")}


def test_an_sdist_makes_the_wheel_of_the_checkout(
    wheels: dict[str, Path], sdists: dict[str, Path], from_sdists: dict[str, Path]
) -> None:
    assert sdists.keys() == from_sdists.keys() == wheels.keys() == {"ireasoner", "ireasoner_client"}
    for name, wheel in wheels.items():
        assert names(from_sdists[name]) == names(wheel)
        assert sdists[name].name == f"{name}-{VERSION}.tar.gz"
        with tarfile.open(sdists[name]) as archive:
            packed = [member.name for member in archive.getmembers()]
        assert not [each for each in packed if "/.git/" in each or "/.venv/" in each or "/runs/" in each]
        assert any(each.endswith("/LICENSE") for each in packed)


def test_the_client_alone_in_a_fresh_environment(
    tmp_path: Path, from_sdists: dict[str, Path], without_extras: Environment
) -> None:
    """Its dependencies are those that `without_extras` links to."""
    made = environment(tmp_path / "fresh", {"ireasoner_client": from_sdists["ireasoner_client"]})
    linked = next((without_extras.folder / "lib").glob("python3.*/site-packages"))
    (next((made.folder / "lib").glob("python3.*/site-packages")) / "dependencies.pth").write_text(
        f"{linked}\n"
    )
    program = "import ireasoner.clients as c; print(c.RewardClient.__name__, c.__file__)"
    shown = made.run(made.python, "-P", "-c", program, cwd=tmp_path).stdout
    assert shown.startswith(f"RewardClient {made.folder}")
    assert "--url" in made.run(made.command("reward-score"), "--help", cwd=tmp_path).stdout


def test_both_in_a_fresh_environment(tmp_path: Path, from_sdists: dict[str, Path]) -> None:
    """`ireasoner --version` needs no dependency at all."""
    made = environment(tmp_path / "fresh", from_sdists)
    assert made.run(made.command("ireasoner"), "--version", cwd=tmp_path).stdout == f"{VERSION}\n"
    assert "usage: ireasoner" in made.run(made.command("ireasoner"), "--help", cwd=tmp_path).stdout
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        f"--python={made.python}",
        "uninstall",
        "--yes",
    ]
    subprocess.run([*pip, "ireasoner", "ireasoner-client"], check=True, capture_output=True, timeout=120)
    left = next((made.folder / "lib").glob("python3.*/site-packages")) / "ireasoner"
    assert not [file for file in left.rglob("*") if file.suffix == ".py"]
