"""`import clients` loads nothing that httpx does not, besides the standard library and itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that are loaded after a statement in a fresh interpreter."""
    program = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(shown.stdout)}


EVERYTHING = (
    "import clients, clients.score, clients.reward_service, clients.sibling_groups, clients.slime_reward"
)


def test_importing_clients_loads_nothing_heavier_than_httpx() -> None:
    heavier = loaded_by(EVERYTHING) - loaded_by("import httpx")
    assert heavier - sys.stdlib_module_names == {"clients"}


def test_installing_the_package_is_all_that_an_adapter_needs(tmp_path: Path) -> None:
    """Built from the sources alone, it holds every adapter and what these import, and declares httpx alone."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("clients", "compat", "services", "trainer"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)],
        check=True,
        timeout=120,
    )
    adapters = {file.name for file in (ROOT / "clients").glob("*_reward.py")}
    assert adapters == {file.name for file in (target / "clients").glob("*_reward.py")}
    [metadata] = target.glob("*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    assert [line for line in required if "extra ==" not in line] == ["Requires-Dist: httpx<1,>=0.28"]
    where = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import clients; sys.stderr.write(clients.__file__)"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"{where}; {EVERYTHING}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stderr == str(target / "clients" / "__init__.py")
