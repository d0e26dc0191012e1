"""The tables of docs/replication.md are those of the committed results."""

import re

from scripts import replication_docs

TABLES = re.compile(r"results\.json -->\n((?:\|[^\n]*\n)+)")


def test_the_page_shows_the_committed_results() -> None:
    text = replication_docs.PAGE.read_text(encoding="utf-8")
    shown = TABLES.findall(text)
    assert len(shown) == text.count("results.json -->") > 1
    stale = re.sub(r"\d\.\d{3}", "9.999", text)
    assert not set(TABLES.findall(stale)) & set(shown)
    assert TABLES.findall(replication_docs.page(stale)) == shown
