"""Writes what is generated from the committed results: the tables and plots of docs/replication and its pages.

`python -m scripts.replication_docs`, after `make replicate`. It runs nothing. In a page, the table below each mark
`<!-- FILE -->` is the summary of that results.json.
"""

import json
import re
from pathlib import Path
from typing import Any

from replication import pseudo_labels, separation
from replication.plots import draw, draw_findings
from replication.table import summary, tables

DOCS = Path(__file__).resolve().parents[1] / "docs"
FOLDER = DOCS / "replication"
PAGES = (FOLDER / "findings.md", FOLDER / "tasks.md")
"""The pages that hold tables."""
_MARKED = re.compile(r"(?P<mark><!-- (?P<file>\S*results\.json) -->\n\n)(?:\|[^\n]*\n)*")


def page(text: str, folder: Path) -> str:
    """A page in `folder` with its tables brought up to date."""
    return _MARKED.sub(lambda found: f"{found['mark']}{summary(_read(folder / found['file']))}\n", text)


def generated() -> dict[Path, str]:
    """Every generated text by its file: the pages with tables, and the Markdown beside the results."""
    texts = {file: page(file.read_text(encoding="utf-8"), file.parent) for file in PAGES}
    for name, markdown in (
        ("results", tables),
        ("separation", separation.markdown),
        ("pseudo_labels", pseudo_labels.markdown),
    ):
        for file in sorted(FOLDER.rglob(f"{name}.json")):
            texts[file.with_name("table.md" if name == "results" else f"{name}.md")] = markdown(_read(file))
    return texts


def main() -> None:
    """Writes the texts and the plots."""
    for file, text in generated().items():
        file.write_text(text, encoding="utf-8")
    for file in sorted(FOLDER.rglob("results.json")):
        draw(_read(file), file.parent)
    draw_findings(_read(FOLDER / "results.json"), FOLDER / "findings.svg")


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
