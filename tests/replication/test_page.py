"""The tables of docs/replication.md, and the README's figures, are those of the committed results."""

import json
import re

import pytest

from scripts import replication_docs

TABLES = re.compile(r"results\.json -->\n((?:\|[^\n]*\n)+)")


def test_the_page_shows_the_committed_results() -> None:
    text = replication_docs.PAGE.read_text(encoding="utf-8")
    shown = TABLES.findall(text)
    assert len(shown) == text.count("results.json -->") > 1
    stale = re.sub(r"\d\.\d{3}", "9.999", text)
    assert not set(TABLES.findall(stale)) & set(shown)
    assert TABLES.findall(replication_docs.page(stale)) == shown


@pytest.mark.parametrize(
    ("row", "other", "exam", "figure"),
    [
        ("outcome-only", "base", "both", "greedy"),
        ("full", "outcome-only", "both", "greedy"),
        ("outcome-distinct", "outcome-only", "both", "majority"),
        ("outcome-only", "base", "held_out_combinations", "sampled"),
    ],
)
def test_the_readme_rests_on_rows(row: str, other: str, exam: str, figure: str) -> None:
    docs = replication_docs.PAGE.parent
    rows = json.loads((docs / "replication" / "results.json").read_text(encoding="utf-8"))["rows"]
    [found] = [one["against"][other] for one in rows if one["row"] == row]
    told = found[exam][figure]
    mean, low, high = (f"{told[part]:.3f}".replace("0.", ".") for part in ("mean", "low", "high"))
    assert f"{mean} [{low}, {high}]" in (docs.parent / "README.md").read_text(encoding="utf-8")
