"""Writes what is generated from the committed results: the tables and plots of docs/replication and its pages.

`python -m scripts.replication_docs`, after `make replicate`. It runs nothing. In a page, the table below each mark
`<!-- FILE -->` is the summary of that results.json. What is between `<!-- NAME: generated -->` and `<!-- NAME: end -->`
is written anew: on the first page and in the README by `replication.first_page`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replication import atlas, pseudo_labels, separation
from replication.coverage import COVERAGE, coverage_table
from replication.first_page import PAPER, SUMS, headline, parts
from replication.forest import sections
from replication.generated_parts import filled_in
from replication.plots import draw, draw_forest
from replication.recorded import as_shown
from replication.table import summary, tables

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FOLDER = DOCS / "replication"
FIRST_PAGE = DOCS / "replication.md"
_NO_TABLE = "quick"
"""The folder whose table only shows what `make replicate-quick` writes."""
PAGES = (FOLDER / "findings.md", FOLDER / "tasks.md")
"""The pages that hold tables."""
_MARKED = re.compile(r"(?P<mark><!-- (?P<file>\S*results\.json) -->\n\n)(?:\|[^\n]*\n)*\n*")


def page(text: str, folder: Path) -> str:
    """A page in `folder` with its tables brought up to date."""
    return _MARKED.sub(lambda found: f"{found['mark']}{summary(_read(folder / found['file']))}\n\n", text)


def generated() -> dict[Path, str]:
    """Every generated text by its file: the pages with tables, and the Markdown beside the results."""
    texts = {file: page(file.read_text(encoding="utf-8"), file.parent) for file in PAGES}
    documents = tables_by_folder()
    coverage = coverage_table(json.loads((FOLDER / COVERAGE).read_text(encoding="utf-8")))
    for file, found in (
        (FIRST_PAGE, parts(documents)),
        (FOLDER / "method.md", {"coverage": coverage}),
        (FOLDER / "ranking.md", {"ranking": separation.ranking(_separations())}),
        (ROOT / "README.md", {"headline": headline(documents)}),
    ):
        texts[file] = filled_in(file.read_text(encoding="utf-8"), found)
    for name, markdown in (
        ("results", tables),
        ("separation", separation.markdown),
        ("pseudo_labels", pseudo_labels.markdown),
    ):
        for file in sorted(FOLDER.rglob(f"{name}.json")):
            texts[file.with_name("table.md" if name == "results" else f"{name}.md")] = markdown(_read(file))
    return texts | atlas.pages(FOLDER / "atlas")


def tables_by_folder() -> dict[str, Mapping[str, Any]]:
    """Each committed table as it is shown, by its folder (`sums` if it has none); the first page's comes first."""
    found = {
        SUMS if file.parent == FOLDER else file.parent.relative_to(FOLDER).as_posix(): _read(file)
        for file in sorted(FOLDER.rglob("results.json"))
        if file.parent.name != _NO_TABLE
    }
    return {PAPER: found[PAPER], **found}


def _separations() -> list[Mapping[str, Any]]:
    """What rewards rank on each task, the main one first."""
    files = sorted(FOLDER.rglob("separation.json"), key=lambda file: (file.parent != FOLDER, file))
    return [_read(file) for file in files]


def main() -> None:
    """Writes the texts and the plots."""
    for file, text in generated().items():
        file.write_text(text, encoding="utf-8")
    for file in sorted(FOLDER.rglob("results.json")):
        draw(_read(file), file.parent)
    draw_forest(sections(tables_by_folder()), FOLDER / "forest.svg")
    atlas.write_pages(FOLDER / "atlas")


def _read(file: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return as_shown(content) if file.name == "results.json" else content


if __name__ == "__main__":
    main()
