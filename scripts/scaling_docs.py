"""Writes the figures of docs/scaling.md: below each command of `benchmarks` in it, the output of the command.

`python -m scripts.scaling_docs`, after `make bench`.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scaling.md"
SHOWN = re.compile(
    r"(?P<command>```bash\n\.venv/bin/python -m (?P<words>benchmarks\.[^`]*?)\n```\n\n)"
    r"(?P<printed>(?:\|[^\n]*\n)+(?:\n_[^\n]*_\n)?)"
)


def page(text: str) -> str:
    """The page with the current output of its commands."""
    return SHOWN.sub(lambda shown: shown["command"] + printed(shown["words"].split()), text)


def printed(words: list[str]) -> str:
    """The output of `python -m` with these words."""
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
