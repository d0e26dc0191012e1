"""Which groups to list and in which order, and the SQL of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ireasoner.reward_server.ledger.ledger_wire import Flag, Order, Sort
from ireasoner.reward_server.ledger.ledgers import RecordId
from ireasoner.reward_server.ledger.search import EVERYTHING, SearchText

Parameters = tuple[object, ...]

FLAGS: Mapping[Flag, tuple[str, str]] = {
    "tie": ("tie = 1", "groups_tied"),
    "flat": ("spread = 0", "groups_flat"),
    "flipped": ("flipped = 1", "groups_flipped"),
    "abstained": ("abstained > 0", "groups_abstained"),
    "invalid": ("invalid > 0", "groups_invalid"),
    "right": ("correct = 1", "groups_right"),
    "wrong": ("correct = 0", "groups_wrong"),
}
"""The condition of each flag, and the index of the groups that meet it, by time."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a group.

    Attributes:
        sql: The condition, on a row of `groups`.
        parameters: Its values.
        index: An index that has the groups that meet it together; None if there is none.
        end: The end that it sets to that index: `least` or `most`; None for any other condition.
    """

    sql: str
    parameters: Parameters = ()
    index: str | None = None
    end: Literal["least", "most"] | None = None


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """Filters, all of which a group must meet, and an order. Groups without the figure of the order are left out."""

    run: RecordId | None = None
    sort: Sort = "received_s"
    order: Order = "desc"
    flags: tuple[Flag, ...] = ()
    endpoint: str | None = None
    update_from: int | None = None
    update_until: int | None = None
    received_from_s: float | None = None
    received_until_s: float | None = None
    min_dominant_share: float | None = None
    max_dominant_share: float | None = None
    question: RecordId | None = None
    image: str | None = None
    text: SearchText = EVERYTHING

    @property
    def is_descending(self) -> bool:
        """Whether the largest value comes first."""
        return self.order == "desc"

    def conditions(self, run: int) -> Iterator[Condition]:
        """The conditions on the groups of a run, less that of the text."""
        for flag in dict.fromkeys(self.flags):
            yield Condition(FLAGS[flag][0], index=FLAGS[flag][1])
        if self.endpoint is not None:
            yield Condition("endpoint = ?", (self.endpoint,))
        yield from _range("at", self.update_from, self.update_until, "groups_by_update")
        yield from _range("received_s", self.received_from_s, self.received_until_s, "groups_by_time", "<")
        yield from _range(
            "dominant_share", self.min_dominant_share, self.max_dominant_share, "groups_by_dominant_share"
        )
        if self.question is not None:
            yield Condition("question_id = ?", (self.question.row,), "groups_by_question")
        if self.image is not None:
            questions = "SELECT id FROM questions WHERE run_id = ? AND image = ?"
            yield Condition(f"question_id IN ({questions})", (run, self.image), "groups_by_question")


def _range(
    column: str, least: float | None, most: float | None, index: str, below: Literal["<", "<="] = "<="
) -> Iterator[Condition]:
    """Values from `least` to `most`, which is one of them unless `below` is `<`."""
    if least is not None:
        yield Condition(f"{column} >= ?", (least,), index, "least")
    if most is not None:
        yield Condition(f"{column} {below} ?", (most,), index, "most")
