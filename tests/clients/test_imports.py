"""`import ireasoner.clients` loads nothing that httpx does not, besides the standard library and itself."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = "import " + ", ".join(
    f"ireasoner.clients{module}"
    for module in ("", ".score", ".reward_service", ".sibling_groups", ".slime_reward")
)


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that are loaded after a statement in a fresh interpreter."""
    program = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(shown.stdout)}


def test_importing_clients_loads_nothing_heavier_than_httpx() -> None:
    heavier = loaded_by(EVERYTHING) - loaded_by("import httpx")
    assert heavier - sys.stdlib_module_names == {"ireasoner"}


def test_installing_the_package_is_all_that_an_adapter_needs(tmp_path: Path) -> None:
    """Built from its own folder, it holds every adapter and what these import, and declares httpx alone."""
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*pip, "--no-deps", "--target", str(target), str(ROOT / "clients")], check=True, timeout=120
    )
    package = Path("ireasoner") / "clients"
    adapters = {file.name for file in (ROOT / "clients" / package).glob("*_reward.py")}
    assert adapters == {file.name for file in (target / package).glob("*_reward.py")}
    [metadata] = target.glob("*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    assert required == ["Requires-Dist: httpx<1,>=0.28"]
    where = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import ireasoner.clients; "
        "sys.stderr.write(ireasoner.clients.__file__)"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"{where}; {EVERYTHING}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stderr == str(target / package / "__init__.py")
