"""A command whose extra is not installed names it in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ireasoner.cli.__main__ import main
from ireasoner.compat.extras import needs_extra

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("cli", "clients", "compat", "services/reward_server", "services/rollout_server", "trainer")
SOURCES = os.pathsep.join(str(ROOT / part) for part in PARTS)


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("ireasoner.reward_server", "reward-server", "reward-server"),
        ("ireasoner.rollout_server", "rollout-server", "rollout-server"),
        ("ireasoner.cli demo", "ireasoner demo", "reward-server,trainer,cpu"),
    ],
)
def test_a_command_without_its_extra_names_it(module: str, command: str, extra: str) -> None:
    without_packages = [sys.executable, "-S", "-m", *module.split(), "--help"]
    shown = subprocess.run(
        without_packages,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert shown.returncode == 1
    assert shown.stdout == ""
    [line] = shown.stderr.splitlines()
    assert line.startswith(f"{command} needs its extra: pip install ./clients '.[{extra}]' (no module ")


def test_the_missing_module_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"), needs_extra("trainer", command="ireasoner"):
        import no_such_package.part  # type: ignore[import-not-found]  # noqa: F401
    assert "(no module no_such_package)" in capsys.readouterr().err


def test_a_module_that_no_extra_brings_stays_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("trainer", command="ireasoner"):
        import ireasoner.trainer.no_such_module  # type: ignore[import-untyped]  # noqa: F401
    with pytest.raises(ImportError, match="no_such_name"), needs_extra("trainer", command="ireasoner"):
        from ireasoner.trainer import no_such_name  # type: ignore[attr-defined]  # noqa: F401


def test_a_command_whose_extra_is_partly_installed_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for module in [
        name for name in sys.modules if ".trainer.report" in name or name.endswith(".commands.report")
    ]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(SystemExit, match="1"):
        main(["report", str(tmp_path)])
    assert "ireasoner report needs its extra" in capsys.readouterr().err
