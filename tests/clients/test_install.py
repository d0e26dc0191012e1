"""The client's distribution in a fresh environment: httpx is all that it brings.

`CLIENT_PYTHON` names another interpreter to build the environment with. The client's own tests then run on it, too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OTHER_PYTHON = os.environ.get("CLIENT_PYTHON")
TESTS = (
    "test_client_page",
    "test_contract",
    "test_deadlines",
    "test_context",
    "test_failures",
    "test_fingerprints",
    "test_framework_context",
    "test_imports",
    "test_proxies",
    "test_right_answers",
    "test_score_command",
    "test_sibling_groups",
    "test_wrong_fields",
    "test_wrong_responses",
)
"""What needs httpx and pytest alone, and a running server."""


def run(*command: str | Path, cwd: Path, deadline_s: float = 240, **variables: str) -> str:
    """The standard output of a command that must end with 0, in an environment without PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
        capture_output=True,
        text=True,
        timeout=deadline_s,
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment, after `pip install ./clients` in a checkout."""
    folder = tmp_path_factory.mktemp("client")
    run(OTHER_PYTHON or sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "./clients", cwd=ROOT)
    return python.parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of a user, with packages that have the names of our folders."""
    for name in ("clients", "ireasoner_clients", "services", "trainer", "compat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the wrong one')\n")
    return tmp_path


def test_it_brings_httpx_alone(installed: Path, elsewhere: Path) -> None:
    shown = run(installed / "python", "-m", "pip", "list", "--format", "json", cwd=elsewhere)
    packages = {package["name"].lower().replace("_", "-") for package in json.loads(shown)}
    brought_by_httpx = {"anyio", "certifi", "h11", "httpcore", "idna", "sniffio", "typing-extensions"}
    assert packages - {"pip", "setuptools"} - brought_by_httpx == {"httpx", "ireasoner-client"}


def test_it_holds_every_adapter_and_the_types(installed: Path, elsewhere: Path) -> None:
    where = "import ireasoner.clients; print(ireasoner.clients.__path__[0])"
    package = Path(run(installed / "python", "-c", where, cwd=elsewhere).strip())
    assert package.is_relative_to(installed.parent)
    source = ROOT / "clients" / "ireasoner" / "clients"
    assert {file.name for file in package.glob("*.py")} == {file.name for file in source.glob("*.py")}
    assert (package / "py.typed").exists()
    assert {file.name for file in package.parent.iterdir()} == {"clients"}, "the namespace has no other part"
    assert not (package.parents[1] / "clients").exists()


def test_its_command_scores(installed: Path, elsewhere: Path, compass_url: str) -> None:
    groups = elsewhere / "groups.jsonl"
    groups.write_text('{"id": "q", "rollouts": [{"id": "0", "answer": "7", "steps": ["east"]}]}\n')
    scored = run(installed / "reward-score", groups, "--url", compass_url, cwd=elsewhere)
    assert json.loads(scored)["dominant_answer"] == "7"


@pytest.mark.slow
def test_it_installs_from_git(installed: Path, elsewhere: Path) -> None:
    """The form that the README shows, from the last commit of this checkout."""
    repository = ["git", "-C", str(ROOT), "rev-parse"]
    if subprocess.run(repository, capture_output=True, check=False).returncode:
        pytest.skip("this is no git checkout")
    target = elsewhere / "target"
    source = f"git+file://{ROOT}#subdirectory=clients"
    pip: list[str | Path] = [installed / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    run(*pip, "--target", target, source, cwd=elsewhere)
    statement = "import ireasoner.clients; print(ireasoner.clients.__file__)"
    shown = run(installed / "python", "-c", statement, cwd=elsewhere, PYTHONPATH=str(target))
    assert shown.strip() == str(target / "ireasoner" / "clients" / "__init__.py")


@pytest.mark.skipif(OTHER_PYTHON is None, reason="CLIENT_PYTHON names no other interpreter")
def test_the_clients_tests_pass_on_the_other_python(installed: Path, compass_url: str) -> None:
    run(installed / "python", "-m", "pip", "install", "--quiet", "pytest>=8", cwd=ROOT)
    files = [f"tests/clients/{name}.py" for name in TESTS]
    suite: list[str | Path] = [installed / "python", "-m", "pytest", "-q", "--confcutdir", "tests/clients"]
    run(*suite, *files, cwd=ROOT, COMPASS_URL=compass_url)
