"""The tables and figures of the pages are those of the committed results."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.clients import ScoredGroup, ScoredRollout, ScoredStep
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.rollout import Rollout
from replication.generated_parts import filled_in
from replication.recorded import as_shown
from scripts import replication_docs
from tests.replication.declared import declared_for

TABLES = re.compile(r"results\.json -->\n\n((?:\|[^\n]*\n)+)")
ROOT = replication_docs.DOCS.parent
PROSE = (
    *("README.md", "docs/presets.md", "docs/replication.md"),
    *(
        f"docs/replication/{name}.md"
        for name in ("findings", "tasks", "ranking", "method", "predictions", "own-arms", "atlas/atlas")
    ),
)


@pytest.mark.parametrize("file", replication_docs.PAGES, ids=lambda file: file.stem)
def test_the_pages_show_the_committed_results(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    shown = TABLES.findall(text)
    assert len(shown) == text.count("results.json -->") > 1
    assert not re.search(r"^\|[^\n]*\n[^|\n]", text, re.MULTILINE), "a blank line ends a table"
    stale = re.sub(r"\d\.\d{3}", "9.999", text)
    assert not set(TABLES.findall(stale)) & set(shown)
    assert TABLES.findall(replication_docs.page(stale, file.parent)) == shown


def test_the_generated_markdown_is_up_to_date() -> None:
    generated = replication_docs.generated()
    assert {file.name for file in generated} >= {"table.md", "separation.md", "pseudo_labels.md"}
    stale = [file for file, text in generated.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, "run python -m scripts.replication_docs"


def test_every_arm_of_the_committed_results_is_an_arm_of_the_code() -> None:
    for file in (ROOT / "docs" / "replication").rglob("results.json"):
        document = json.loads(file.read_text(encoding="utf-8"))
        assert {arm["arm"] for arm in document["arms"]} <= declared_for(file.parent, document).keys()


PARTS = {
    "docs/replication.md": ("sentences", "rows", "claims"),
    "docs/replication/method.md": ("coverage",),
    "docs/replication/ranking.md": ("ranking",),
    "README.md": ("headline",),
}


@pytest.mark.parametrize("page", PARTS)
def test_the_generated_parts_are_written_anew_and_nothing_else_is(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = {name: f"new {name}" for name in PARTS[page]}
    filled = filled_in(text, found)
    for name in PARTS[page]:
        begin, end = f"<!-- {name}: generated -->\n\n", f"\n\n<!-- {name}: end -->"
        was = text[text.index(begin) + len(begin) : text.index(end)]
        assert was
        filled = filled.replace(f"{begin}new {name}{end}", f"{begin}{was}{end}")
    assert filled == text


@pytest.mark.parametrize("text", ["no marks", "<!-- rows: generated -->", "<!-- rows: end -->"])
def test_a_page_without_the_marks_of_a_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the page has no <!-- rows: generated -->"):
        filled_in(text, {"rows": "| a |"})


def test_the_page_comes_in_its_order() -> None:
    text = (ROOT / "docs" / "replication.md").read_text(encoding="utf-8")
    order = (
        "sentences: generated",
        "forest.svg",
        "rows: generated",
        "claims: generated",
        "ChartQA",
        "<details",
    )
    places = [text.index(mark) for mark in order]
    assert places == sorted(places)


FIGURE = re.compile(r"([+-]?)([01]?\.\d{3})\s+\[(-?[01]?\.\d{3}),\s+(-?[01]?\.\d{3})\]")
CARD = re.compile(r"(\d\.\d{3}) \(95% interval (\d\.\d{3}) to (\d\.\d{3})\)")
Figure = tuple[str, str, str]


def rounded(value: float | str) -> str:
    """Three digits after a leading zero, and no negative zero."""
    return f"{float(value) + 0.0:.3f}".replace("-0.000", "0.000")


def committed(found: Any) -> Iterator[Figure]:
    """Every mean with its interval in a document, and the same with the sign reversed: ours minus theirs."""
    if isinstance(found, dict):
        if found.keys() >= {"mean", "low", "high"} and found["low"] is not None:
            yield rounded(found["mean"]), rounded(found["low"]), rounded(found["high"])
            yield rounded(-found["mean"]), rounded(-found["high"]), rounded(-found["low"])
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from committed(one)


def as_shown_if_results(file: Path) -> Any:
    content = json.loads(file.read_text(encoding="utf-8"))
    return as_shown(content) if file.name == "results.json" else content


@pytest.fixture(scope="module")
def known() -> set[Figure]:
    """The figures of the committed results and of the model cards."""
    figures = {
        figure
        for file in (ROOT / "docs" / "replication").rglob("*.json")
        for figure in committed(as_shown_if_results(file))
    }
    for card in (ROOT / "models").glob("*/README.md"):
        figures |= {tuple(found) for found in CARD.findall(card.read_text(encoding="utf-8"))}
    return figures


def said_on(page: str) -> list[Figure]:
    """Every figure with an interval on a page."""
    return [
        (rounded(f"{sign}{mean}"), rounded(low), rounded(high))
        for sign, mean, low, high in FIGURE.findall(
            (ROOT / page).read_text(encoding="utf-8").replace("**", "")
        )
    ]


@pytest.mark.parametrize("page", PROSE)
def test_every_figure_with_an_interval_is_one_of_the_results(page: str, known: set[Figure]) -> None:
    said = said_on(page)
    of_demo = set(said_on("docs/demo.md")) if page == "README.md" else set()
    assert not [figure for figure in said if figure not in known | of_demo]
    assert len(said) > 3 or page.rpartition("/")[2] in (
        "README.md",
        "presets.md",
        "method.md",
        "own-arms.md",
        "atlas.md",
    )


@pytest.mark.parametrize("page", [page for page in PROSE if page.startswith("docs/replication")])
def test_figures_have_a_leading_zero(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.])\.\d+(?![\w.])", text)


def test_the_pages_reward_runs_on_what_a_group_has() -> None:
    text = (ROOT / "docs" / "replication" / "own-arms.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    described = text[text.index("A group has its") :]
    group = Group(Path("one.png"), Image.new("RGB", (4, 4)))
    group.prompts = [Prompt([], group.picture, group.png, 3)]
    group.rollouts = [Rollout("text", (1,), (0.0,), (1,), "stop", "solver-0", seed) for seed in range(3)]
    steps = tuple(ScoredStep(f"step {cosine}", cosine, 1.0) for cosine in (1.0, 0.5))
    scored = (
        ScoredRollout("0", "ok", None, "7", 0.8, 0.8, 0.8, steps),
        ScoredRollout("1", "ok", None, "8", 0.3, 0.3, 0.0, (ScoredStep("step", None, 0.0),)),
        ScoredRollout("2", "abstain", "too few steps", None, None, None, None, ()),
    )
    group.record = group.solver_record(ScoredGroup("q", "ok", "7", False, 0.5, 0.6, 0.7, 0.8, (), scored))
    written: dict[str, Any] = {}
    exec(code, written)
    assert written["reward"]([group], [[0.8, 0.3, None]], 0.5) == [[0.4, 0.3, None]]
    known = {
        *vars(group),
        *group.record,
        *group.record["rollouts"][0],
        *group.record["rollouts"][0]["steps"][0],
    }
    names = set(re.findall(r"`(\w+)`", described))
    assert len(names) > 15
    assert names - {"record"} <= known
