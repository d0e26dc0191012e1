"""Writes the tables of docs/replication.md: under each mark `<!-- FILE -->` there, the summary of that results.json.

`python -m scripts.replication_docs`, after `make replicate`.
"""

import json
import re
from pathlib import Path

from replication.table import summary

PAGE = Path(__file__).resolve().parents[1] / "docs" / "replication.md"
_MARKED = re.compile(r"(?P<mark><!-- (?P<file>\S+results\.json) -->\n)(?:\|[^\n]*\n)*")


def page(text: str) -> str:
    """The page with the tables as the results are now."""
    return _MARKED.sub(lambda found: f"{found['mark']}{_summary(found['file'])}\n", text)


def _summary(file: str) -> str:
    return summary(json.loads((PAGE.parent / file).read_text(encoding="utf-8")))


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
