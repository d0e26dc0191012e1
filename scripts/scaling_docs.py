"""Writes the figures of docs/scaling.md: under each command of `benchmarks` there, what it prints.

`python -m scripts.scaling_docs`, after `make bench` has measured anew.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scaling.md"
_SHOWN = re.compile(
    r"(?P<command>```bash\n\.venv/bin/python -m (?P<words>benchmarks\.[^`]*?)\n```\n\n)"
    r"(?P<printed>(?:\|[^\n]*\n)+(?:\n_[^\n]*_\n)?)"
)


def page(text: str) -> str:
    """The page with the tables as its commands print them now."""
    return _SHOWN.sub(lambda shown: shown["command"] + printed(shown["words"].split()), text)


def printed(words: list[str]) -> str:
    """What `python -m` with these words prints."""
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
