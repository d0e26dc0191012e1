"""Finds a Chromium for the browser tests and the screenshots, and installs one where it can.

`python -m scripts.browser` (or `make browser`) tries Playwright's own Chromium first and then, as root, Debian's
package. If neither can be installed the command says so and succeeds, and the browser tests are skipped.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_ON_PATH = ("chromium", "chromium-browser", "google-chrome")
_DOWNLOAD_DEADLINE_S = 300
_CONNECTION_DEADLINE_MS = 5_000
_APT_DEADLINE_S = 600
PAGE_DEADLINE_S = 120
"""For whatever is waited for on a page."""
_START_DEADLINE_S = 120


def find() -> Path | None:
    """The first Chromium that starts: Playwright's own, else one on the PATH; None if there is none."""
    on_path = (Path(found) for name in _ON_PATH if (found := shutil.which(name)))
    return next((executable for executable in (_playwrights_own(), *on_path) if _starts(executable)), None)


@contextmanager
def launched(executable: Path) -> Iterator[Browser]:
    """A headless browser with an empty profile, for the duration of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            headless=True,
            args=list(_FLAGS),
            chromium_sandbox=False,
            timeout=1000 * _START_DEADLINE_S,
        )
        try:
            yield browser
        finally:
            browser.close()


def _playwrights_own() -> Path:
    """Where Playwright puts the Chromium of its release, whether it is there or not."""
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def _starts(executable: Path) -> bool:
    """Whether it is there and all its libraries are."""
    if not executable.exists():
        return False
    try:
        run = subprocess.run(
            [executable, "--headless", *_FLAGS, "--version"],
            capture_output=True,
            timeout=_START_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


def _download() -> bool:
    """Has Playwright download its Chromium; False if it could not within the deadline."""
    return _run(
        [sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"],
        _DOWNLOAD_DEADLINE_S,
        PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT=str(_CONNECTION_DEADLINE_MS),
    )


def _install_package() -> bool:
    """Installs Debian's chromium; False without root or apt-get, or if apt-get could not."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print("browser: this needs root and apt-get", flush=True)
        return False
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
    return all(
        _run(command, _APT_DEADLINE_S, DEBIAN_FRONTEND="noninteractive")
        for command in (["apt-get", "update"], install)
    )


def _run(command: list[str], deadline_s: float, **environment: str) -> bool:
    """Runs a command; if it fails or does not end in time, says why and returns False."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            returncode = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(f"browser: not done after {deadline_s:.0f} s", flush=True)
            return False
        if returncode != 0:
            output.seek(0)
            errors = [line.strip() for line in output if "rror" in line] or ["no message"]
            print(f"browser: {errors[0]}", flush=True)
        return returncode == 0


def main() -> None:
    """Installs a Chromium if there is none, and says which one will be used."""
    executable = find()
    for what, install in (("Playwright's Chromium", _download), ("Debian's chromium", _install_package)):
        if executable is not None:
            break
        print(f"browser: installing {what}", flush=True)
        if not install():
            print(f"browser: could not install {what}", flush=True)
        executable = find()
    if executable is not None:
        print(f"browser: {executable}")
    elif _playwrights_own().exists():
        print("browser: Chromium was downloaded but does not start; its system libraries may be missing.")
        print("browser: run `sudo .venv/bin/python -m playwright install-deps chromium`.")
    else:
        print("browser: no Chromium, and none could be installed; the browser tests will be skipped.")


if __name__ == "__main__":
    main()
