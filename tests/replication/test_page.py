"""The tables of docs/replication.md, and the README's figures, are those of the committed results."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.clients import ScoredGroup, ScoredRollout, ScoredStep
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import Rollout
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
        ("outcome-only", "base", "held_out_combinations", "sampled"),
    ],
)
def test_the_readme_rests_on_rows(row: str, other: str, exam: str, figure: str) -> None:
    [found] = [one["against"][other] for one in table()["rows"] if one["row"] == row]
    assert is_in_the_readme(found[exam][figure])


def test_the_readme_rests_on_all_pairs_that_differ_in_a_switch() -> None:
    [found] = [one for one in table()["switches"] if one["switch"] == "distinct_exponent"]
    assert (len(found["pairs"]), len(found["seeds"])) == (2, 5)
    assert is_in_the_readme(found["both"]["greedy"])


def table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (replication_docs.PAGE.parent / "replication" / "results.json").read_text(encoding="utf-8")
    )
    return found


def is_in_the_readme(figure: dict[str, float]) -> bool:
    readme = (replication_docs.PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    mean, low, high = (told(figure[part]) for part in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" in readme


FIGURE = re.compile(r"([+-]?)(\.\d{3})\s+\[(-?)(\.\d{3}),\s+(-?)(\.\d{3})\]")
CARD = re.compile(r"0(\.\d{3}) \(95% interval 0(\.\d{3}) to 0(\.\d{3})\)")
Figure = tuple[str, str, str]


def told(value: float) -> str:
    return f"{value + 0.0:.3f}".replace("0.", ".", 1).replace("-.000", ".000")


def committed(found: Any) -> Iterator[Figure]:
    """Every mean with its interval in a document, and the same the other way round: ours less theirs."""
    if isinstance(found, dict):
        if found.keys() >= {"mean", "low", "high"} and found["low"] is not None:
            yield told(found["mean"]), told(found["low"]), told(found["high"])
            yield told(-found["mean"]), told(-found["high"]), told(-found["low"])
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from committed(one)


@pytest.mark.parametrize("page", ["docs/replication.md", "docs/presets.md", "README.md"])
def test_every_figure_with_an_interval_in_the_prose_is_one_of_the_results(page: str) -> None:
    root = replication_docs.PAGE.parent.parent
    known = {
        figure
        for file in (root / "docs" / "replication").rglob("*.json")
        for figure in committed(json.loads(file.read_text(encoding="utf-8")))
    }
    for card in (root / "models").rglob("README.md"):
        known |= {tuple(found) for found in CARD.findall(card.read_text(encoding="utf-8"))}
    text = (root / page).read_text(encoding="utf-8")
    said = [
        (f"{'-' * (sign == '-')}{mean}", low_sign + low, high_sign + high)
        for sign, mean, low_sign, low, high_sign, high in FIGURE.findall(text)
    ]
    assert not [figure for figure in said if figure not in known]
    assert said or page == "docs/presets.md"


def test_the_pages_reward_can_be_had_from_what_a_group_has() -> None:
    text = replication_docs.PAGE.read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    told_of = text[text.index("A group has its") : text.index("`--extra-rows my-rows.toml` runs")]
    group = Group(Path("one.png"), Image.new("RGB", (4, 4)))
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
    names = set(re.findall(r"`(\w+)`", told_of))
    assert len(names) > 15
    assert names - {"record"} <= known
