"""One group with everything that the ledger has of it, and the groups beside it."""

import sqlite3
from typing import Any

import orjson
from pydantic import ValidationError

from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.ledger import visible
from ireasoner.reward_server.ledger.ledger_wire import Neighbours, Summary
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer, no_such
from ireasoner.reward_server.ledger.record import unpacked
from ireasoner.reward_server.ledger.schema import UNKNOWN
from ireasoner.reward_server.ledger.summaries import summaries
from ireasoner.reward_server.scoring_config import ScoringConfig

Json = dict[str, Any]

NEIGHBOURS = 20
"""Groups with the same question, and with the same image, that are listed."""
QUESTIONS = 50
"""Questions about one image whose groups are looked for."""


def whole(ledgers: Ledgers, viewer: Viewer, record: RecordId) -> Json:
    """The group as `ledger_wire.WholeGroup` describes it; raises NoSuchRecord if the viewer may not see it."""
    with ledgers.of(record).reading() as connection:
        visible.run_of(connection, "groups", record, viewer)
        return whole_group(connection, record)


def whole_group(connection: sqlite3.Connection, record: RecordId) -> Json:
    """The group of a record that the caller may see."""
    figures = summaries(connection, record.ledger, [record.row]).get(record.row)
    context = connection.execute(
        "SELECT request_id, config_label, config, fingerprint, embedder, run_id, received_s, progress, endpoint "
        "FROM groups JOIN scorings ON scorings.id = groups.scoring_id WHERE groups.id = ?",
        (record.row,),
    ).fetchone()
    document = _document(connection, record)
    if figures is None or context is None or document is None:
        raise no_such(record)
    sent = document["group"]
    config = orjson.loads(context["config"])
    return {
        **figures.model_dump(),
        **{name: context[name] for name in ("request_id", "config_label", "fingerprint", "embedder")},
        "config": config,
        "step_weight": _step_weight(config, context),
        "labels": sent.get("labels"),
        "sent": sent,
        "scored": document["scored"],
        "newer": _beside(connection, record, context, ">", "ASC"),
        "older": _beside(connection, record, context, "<", "DESC"),
    }


def _document(connection: sqlite3.Connection, record: RecordId) -> Json | None:
    found = connection.execute("SELECT document FROM documents WHERE group_id = ?", (record.row,)).fetchone()
    return None if found is None else unpacked(found["document"])


def _step_weight(config: Json, context: sqlite3.Row) -> float | None:
    """The weight of the trajectory reward; None if there is none, or the config is unknown or of another version."""
    if context["endpoint"] != "solver" or context["config_label"] == UNKNOWN:
        return None
    try:
        return agreement.step_weight(context["progress"], ScoringConfig.model_validate(config))
    except ValidationError:
        return None


def _beside(
    connection: sqlite3.Connection, record: RecordId, group: sqlite3.Row, sign: str, order: str
) -> str | None:
    """The run's next group in one direction of time.

    An index finds each of the two searches at once. It would scan all groups of one time, such as those of an import,
    for `(received_s, id) > (?, ?)`.
    """
    for behind, values in (
        (f"received_s = ? AND id {sign} ?", (group["received_s"], record.row)),
        (f"received_s {sign} ?", (group["received_s"],)),
    ):
        found = connection.execute(
            f"SELECT id FROM groups INDEXED BY groups_by_time WHERE run_id = ? AND {behind} "
            f"ORDER BY received_s {order}, id {order} LIMIT 1",
            (group["run_id"], *values),
        ).fetchone()
        if found is not None:
            return str(RecordId(record.ledger, found["id"]))
    return None


def neighbours(ledgers: Ledgers, viewer: Viewer, record: RecordId) -> Neighbours:
    """The groups of the run with the same question or image; raises NoSuchRecord as `whole` does."""
    with ledgers.of(record).reading() as connection:
        run = visible.run_of(connection, "groups", record, viewer)
        asked = connection.execute(
            "SELECT questions.id, image FROM groups JOIN questions ON questions.id = question_id WHERE groups.id = ?",
            (record.row,),
        ).fetchone()
        if asked is None:
            return Neighbours(same_question=[], same_image=[])
        others = []
        if asked["image"] is not None:
            others = connection.execute(
                "SELECT id FROM questions WHERE run_id = ? AND image = ? AND id <> ? LIMIT ?",
                (run.id.row, asked["image"], asked["id"], QUESTIONS),
            ).fetchall()
        return Neighbours(
            same_question=_nearest(connection, record, [asked["id"]]),
            same_image=_nearest(connection, record, [row["id"] for row in others]),
        )


def _nearest(connection: sqlite3.Connection, record: RecordId, questions: list[int]) -> list[Summary]:
    """The groups with these questions that arrived nearest to a group, without it; the newest first."""
    rows: set[int] = set()
    for question in questions:
        for sign, order in ((">", "ASC"), ("<", "DESC")):
            found = connection.execute(
                f"SELECT id FROM groups WHERE question_id = ? AND id {sign} ? ORDER BY id {order} LIMIT ?",
                (question, record.row, NEIGHBOURS),
            )
            rows.update(row["id"] for row in found)
    nearest = sorted(rows, key=lambda row: abs(row - record.row))[:NEIGHBOURS]
    found_groups = summaries(connection, record.ledger, nearest)
    return [found_groups[row] for row in sorted(found_groups, reverse=True)]
