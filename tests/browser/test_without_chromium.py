"""A machine without a Chromium: the browser tests are skipped and say so, and fail on CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240


def _run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where neither Playwright's browser nor one on the PATH is found, and none can be downloaded."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "PATH": str(folder),
            "PLAYWRIGHT_BROWSERS_PATH": str(folder),
            "PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:9",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize("parallel", [(), ("--numprocesses", "1")])
@pytest.mark.slow
def test_the_last_line_says_that_browser_tests_were_skipped(
    tmp_path: Path, parallel: tuple[str, ...]
) -> None:
    run = _run(tmp_path, "pytest", "tests/browser/test_screenshots.py", *parallel)
    assert run.returncode == 0, run.stdout
    assert "1 passed, 1 skipped" in run.stdout
    assert run.stdout.splitlines()[-1] == "browser tests skipped: no Chromium; run `make browser`"


@pytest.mark.slow
def test_a_skip_is_a_failure_on_ci(tmp_path: Path) -> None:
    run = _run(tmp_path, "pytest", "tests/browser/test_screenshots.py", CI="true")
    assert run.returncode == 1
    assert "no Chromium; run `make browser`" in run.stdout


@pytest.mark.slow
def test_make_browser_succeeds_and_says_that_there_is_none(tmp_path: Path) -> None:
    run = _run(tmp_path, "scripts.browser")
    assert run.returncode == 0, run.stdout
    assert "could not install Playwright's Chromium" in run.stdout
    assert "needs root and apt-get" in run.stdout
    assert run.stdout.splitlines()[-1].endswith("the browser tests will be skipped.")
