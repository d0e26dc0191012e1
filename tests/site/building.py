"""Builds the documentation site."""

import os
import subprocess
import sys
from pathlib import Path

DEADLINE_S = 240


def build(root: Path, into: Path) -> subprocess.CompletedProcess[str]:
    """Runs MkDocs in strict mode on a checkout; the process with its output, whether it succeeded or not."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(into)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
