"""Both wheels, built once, and environments that hold them and nothing of the checkout."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.traps import write_traps

ROOT = Path(__file__).resolve().parents[2]
OF_HTTPX = ("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "sniffio", "typing_extensions")
"""What `ireasoner-client` needs, and what that needs."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment in which both wheels are installed."""

    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return self.command("python")

    def command(self, name: str) -> str:
        """The path of one of its commands."""
        return str(self.folder / "bin" / name)

    def run(
        self, *words: str, cwd: Path, expected: int = 0, deadline_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in `cwd`, which must end with `expected`."""
        ended = subprocess.run(
            words, cwd=cwd, capture_output=True, text=True, timeout=deadline_s, check=False
        )
        assert ended.returncode == expected, f"{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
        return ended


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, by its name."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    built = [*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT / "clients"), str(ROOT)]
    subprocess.run(built, check=True, timeout=240)
    return {file.name.split("-")[0]: file for file in folder.glob("*.whl")}


def environment(folder: Path, wheels: dict[str, Path]) -> Environment:
    """A new environment with both wheels and without their dependencies."""
    venv.create(folder, with_pip=False)
    made = Environment(folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", f"--python={made.python}"]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", *map(str, wheels.values())],
        check=True,
        timeout=120,
    )
    return made


def site_packages(made: Environment) -> Path:
    """Where its packages are."""
    return next((made.folder / "lib").glob("python3.*/site-packages"))


@pytest.fixture(scope="session")
def without_extras(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Both wheels with httpx alone, as `pip install ./clients .` leaves them."""
    made = environment(tmp_path_factory.mktemp("without-extras"), wheels)
    for name in OF_HTTPX:
        for file in distribution(name).files or ():
            target = site_packages(made) / file
            if ".." not in file.parts and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(Path(str(file.locate())).resolve())
    return made


@pytest.fixture(scope="session")
def with_extras(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Both wheels with every extra.

    The dependencies are those of the environment that runs the tests; a path that a .pth file adds has its own .pth
    files ignored, so that the checkout stays out.
    """
    made = environment(tmp_path_factory.mktemp("with-extras"), wheels)
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages(made) / "dependencies.pth").write_text("\n".join(paths) + "\n")
    return made


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A current folder with modules that raise as they are imported."""
    return write_traps(tmp_path / "hostile")
