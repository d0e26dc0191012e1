"""Groups that need both canonical forms and the symbolic comparison of formulas; the table in docs/presets.md."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.answers.equivalence import cluster
from ireasoner.reward_server.scoring_config import ROBUST
from tests.examples import examples
from tests.reward_server.answer_forms import keys

PAGE = Path("docs/presets.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \*\*(.+?)\*\*.*? \| (.+?) \| (.+?) \|", PAGE, re.MULTILINE)
assert len(ROWS) > 10, "the table in docs/presets.md"


class Clustering:
    """Clusters groups on an event loop of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.comparer = ExpressionComparer()

    def names(self, answers: Sequence[str]) -> list[str | None]:
        """The name of each answer's cluster."""
        return self.runner.run(cluster(answers, ROBUST, self.comparer)).names

    def clusters_of_examples(self, cell: str) -> list[tuple[int, int]]:
        """For each group of examples in a cell of the table, the number of its clusters and of its answers."""
        groups = [re.findall(r"`([^`]+)`", group) for group in cell.split(";")]
        return [(len(set(self.names(group))), len(group)) for group in groups]


@pytest.fixture(scope="module")
def clustering() -> Iterator[Clustering]:
    clustering = Clustering()
    try:
        yield clustering
    finally:
        clustering.runner.run(clustering.comparer.stop())
        clustering.runner.close()


@pytest.mark.parametrize(
    "answers",
    [
        ["x+y=5", "x-y=5", "5", "2+4"],
        [r"x = \sqrt{4}", "y = 2"],
        [r"\frac{1}{20}", "5 cm", r"\sqrt{25} kg"],
        ["(a, 0)", "(0, a)", "a"],
        [r"(\pi, 0)", r"\{\pi, 0\}"],
        ["A-C-B-D", "D-C-B-A", "A-B-C-D"],
        ["3 x 4", "4 x 3", "12"],
        ["N2O", "2NO", "H2O", "HO2"],
        ["5M", "5 m", "5 M/2"],
        ["1990s", "1990"],
        ["5!", "5", "5!+1"],
    ],
)
def test_formulas_do_not_join_what_is_of_another_kind(clustering: Clustering, answers: list[str]) -> None:
    names = clustering.names(answers)
    assert len(set(names)) == len(answers), names


@pytest.mark.parametrize(
    "answers",
    [
        [r"x = \frac{\sqrt{2}}{2}", r"1/\sqrt{2}"],
        [r"\sqrt{12} cm", r"2\sqrt{3}\text{ cm}", r"20\sqrt{3} mm"],
        ["y = 2x + 1", "1 + 2x", "y=2(x+1)-1"],
        [r"\theta = \frac{\pi}{4}", "π/4"],
        ["5!", "120"],
    ],
)
def test_values_with_names_and_units_are_compared_as_formulas(
    clustering: Clustering, answers: list[str]
) -> None:
    assert len(set(clustering.names(answers))) == 1


@pytest.mark.parametrize(("same", "apart"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_table_in_the_docs_is_right(clustering: Clustering, same: str, apart: str) -> None:
    assert all(clusters == 1 < answers for clusters, answers in clustering.clusters_of_examples(same))
    assert all(clusters == answers > 1 for clusters, answers in clustering.clusters_of_examples(apart))


MIXED = [
    *["A. Lincoln", "A. Johnson", "A", "(B)", "B. Paris", "B", "C. 1900", "E. coli", "E", "(b) Rome", "B: 5"],
    *[
        "x = 5",
        "y = 5",
        "5",
        "x = 7",
        "y = 2x",
        "2x",
        "z = 2x",
        "2x - y = 0",
        "x=5, y=7",
        "(5, 7)",
        "y=7; x=5",
    ],
]


@given(answers=st.lists(st.sampled_from(MIXED), max_size=8), data=st.data())
@settings(max_examples=examples(200), deadline=None)
def test_a_groups_forms_depend_on_its_set_of_answers_alone(answers: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(answers))
    assert forms_of(shuffled, ROBUST) == forms_of([*answers, *answers], ROBUST)


@given(answers=st.lists(st.sampled_from(MIXED), unique=True, max_size=8))
@settings(max_examples=examples(200), deadline=None)
def test_names_and_initials_are_never_joined_through_a_third_answer(answers: list[str]) -> None:
    found = keys(answers)
    for one, other in [
        ("x = 5", "y = 5"),
        ("A. Lincoln", "A. Johnson"),
        ("y = 2x", "z = 2x"),
        ("5", "x = 7"),
    ]:
        if one in found and other in found and not {"(B)", "(b) Rome"} & set(found):
            assert found[one] != found[other]
