"""Puts scored requests into a ledger."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import fields, replace

import orjson

from ireasoner.reward_server.ledger.record import Figures, Json, Record, figures, packed, sendable, texts

MOST_FEEDS = 1_000
"""Starts of servers that are remembered; a writer takes what all former ones left before it ends."""

_FIGURES = tuple(field.name for field in fields(Figures))
_COLUMNS = (
    "run_id",
    "scoring_id",
    "question_id",
    "received_s",
    "request_id",
    "name",
    "endpoint",
    "progress",
    "at",
    "flipped",
    "line",
    *_FIGURES,
)
_INSERT_GROUP = f"INSERT INTO groups ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_POINT_KEYS = ("run_id", "endpoint", "unit", "at")


def insert(connection: sqlite3.Connection, record: Record) -> list[int]:
    """Inserts the groups of a record, within the caller's transaction; returns their ids.

    They are none if the record is already kept.
    """
    if _is_kept(connection, record):
        return []
    record = _whole(record)
    run_id = _run(connection, record)
    scoring_id = _scoring(connection, record)
    ids, kept = [], []
    for group in record.groups:
        found = figures(group["group"], group["scored"], record.config)
        question_id = _question(connection, run_id, group["group"])
        flipped = _flipped(connection, question_id, found.dominant_answer)
        context = (
            run_id,
            scoring_id,
            question_id,
            record.received_s,
            record.request_id,
            group["group"]["id"],
            record.endpoint,
            record.progress,
            record.update,
            flipped,
            record.line,
        )
        row = (*context, *(getattr(found, name) for name in _FIGURES))
        group_id = connection.execute(_INSERT_GROUP, row).lastrowid
        assert group_id is not None
        connection.execute("INSERT INTO documents VALUES (?, ?)", (group_id, packed(group)))
        index(connection, group_id, run_id, group)
        ids.append(group_id)
        kept.append((found, flipped))
    _add_point(connection, run_id, record, kept)
    return ids


def is_imported(connection: sqlite3.Connection, line: bytes) -> bool:
    """Whether the ledger has the group of an imported line."""
    return connection.execute("SELECT 1 FROM groups WHERE line = ?", (line,)).fetchone() is not None


def is_new(connection: sqlite3.Connection, feed: str, sequence: int) -> bool:
    """Whether what a feed sends under a number is not kept yet; it counts as kept from now on."""
    updated = connection.execute(
        "INSERT INTO feeds VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET last = ?2 WHERE last < ?2",
        (feed, sequence),
    )
    return updated.rowcount > 0


def forget_feeds(connection: sqlite3.Connection) -> None:
    """Forgets the oldest starts of servers, of which nothing waits any more."""
    connection.execute(
        "DELETE FROM feeds WHERE id NOT IN (SELECT id FROM feeds ORDER BY id DESC LIMIT ?)", (MOST_FEEDS,)
    )


def insert_image(
    connection: sqlite3.Connection, sha256: str, experiment: str, size_bytes: int, put_s: float
) -> bool:
    """Notes that an experiment has put an image, whose file is stored; returns whether no experiment had put it."""
    known = connection.execute("SELECT 1 FROM images WHERE sha256 = ? LIMIT 1", (sha256,)).fetchone()
    connection.execute(
        "INSERT INTO images VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET put_s = excluded.put_s",
        (sha256, experiment, size_bytes, put_s),
    )
    return known is None


def index(connection: sqlite3.Connection, group_id: int, run_id: int, group: Json) -> None:
    """Adds a group to the full-text index."""
    found = texts(group["group"], group["scored"])
    connection.execute(
        "INSERT INTO texts (rowid, run, question, answers, steps) VALUES (?, ?, ?, ?, ?)",
        (group_id, run_mark(run_id), found.question, found.answers, found.steps),
    )


def unindex(connection: sqlite3.Connection, group_id: int, run_id: int, group: Json) -> None:
    """Removes a group from the full-text index, which needs the texts that it was indexed with."""
    found = texts(group["group"], group["scored"])
    connection.execute(
        "INSERT INTO texts (texts, rowid, run, question, answers, steps) VALUES ('delete', ?, ?, ?, ?, ?)",
        (group_id, run_mark(run_id), found.question, found.answers, found.steps),
    )


def run_mark(run_id: int) -> str:
    """What the full-text index calls a run."""
    return f"<{run_id}>"


def _is_kept(connection: sqlite3.Connection, record: Record) -> bool:
    if record.line is not None:
        return is_imported(connection, record.line)
    return not is_new(connection, record.feed, record.sequence)


def _whole(record: Record) -> Record:
    """The record in a form that can be stored: imported files may hold halves of surrogate pairs."""
    try:
        orjson.dumps((record.experiment, record.source, record.request_id, record.groups))
    except TypeError:
        names = ("experiment", "source", "request_id", "groups")
        return replace(record, **{name: sendable(getattr(record, name)) for name in names})
    return record


def _run(connection: sqlite3.Connection, record: Record) -> int:
    key = (record.experiment, record.source)
    return _id(connection, "runs", "experiment = ? AND source = ?", key, ("experiment", "source"), key)


def _scoring(connection: sqlite3.Connection, record: Record) -> int:
    row = (record.fingerprint, record.config_label, record.config.model_dump_json(), record.embedder)
    names = ("fingerprint", "config_label", "config", "embedder")
    condition = " AND ".join(f"{name} = ?" for name in names)
    return _id(connection, "scorings", condition, row, names, row)


def _question(connection: sqlite3.Connection, run_id: int, sent: Json) -> int | None:
    """The row of a group's question and image; None if the caller sent neither."""
    question, image = sent.get("question"), sent.get("image")
    if question is None and image is None:
        return None
    key = (run_id, hashlib.sha256(orjson.dumps((question, image))).digest())
    row = (*key, question, image)
    names = ("run_id", "digest", "question", "image")
    return _id(connection, "questions", "run_id = ? AND digest = ?", key, names, row)


def _id(
    connection: sqlite3.Connection,
    table: str,
    condition: str,
    key: Sequence[object],
    names: Sequence[str],
    row: Sequence[object],
) -> int:
    """The id of a row, which is inserted if it is missing."""
    found = connection.execute(f"SELECT id FROM {table} WHERE {condition}", key).fetchone()
    if found is not None:
        return int(found[0])
    marks = ", ".join("?" * len(names))
    added = connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", row).lastrowid
    assert added is not None
    return added


def _flipped(connection: sqlite3.Connection, question_id: int | None, dominant: str | None) -> bool | None:
    """Whether the dominant answer differs from that of the question's previous group; None if one is unknown."""
    if question_id is None or dominant is None:
        return None
    before = connection.execute(
        "SELECT dominant_answer FROM groups JOIN questions ON questions.id = question_id "
        "WHERE question_id = ? AND question IS NOT NULL ORDER BY groups.id DESC LIMIT 1",
        (question_id,),
    ).fetchone()
    return None if before is None or before[0] is None else before[0] != dominant


def _add_point(
    connection: sqlite3.Connection,
    run_id: int,
    record: Record,
    kept: Sequence[tuple[Figures, bool | None]],
) -> None:
    """Adds the sums of a record's groups to its point of the timeline, and to the run's totals."""
    if record.update is not None:
        unit, at = "update", record.update
    else:
        unit, at = "minute", int(record.received_s // 60)
    sums = {
        "groups": len(kept),
        "ties": sum(each.tie for each, _ in kept),
        "flat": sum(each.spread == 0 for each, _ in kept),
        "flips": sum(flipped is True for _, flipped in kept),
        "flips_known": sum(flipped is not None for _, flipped in kept),
        "correct": sum(each.correct is True for each, _ in kept),
        "correct_known": sum(each.correct is not None for each, _ in kept),
        "rewarded": sum(each.reward is not None for each, _ in kept),
        "answered": sum(each.entropy_nats is not None for each, _ in kept),
        "counted": sum(each.steps is not None for each, _ in kept),
    }
    for name in _SUMMED:
        sums[name] = sum(getattr(each, name) or 0 for each, _ in kept)
    rows = [
        {
            **dict(zip(_POINT_KEYS, (run_id, record.endpoint, *of), strict=True)),
            "first_s": record.received_s,
            "last_s": record.received_s,
            **sums,
        }
        for of in ((unit, at), ("run", 0))
    ]
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums)
    names = rows[0]
    connection.executemany(
        f"INSERT INTO points ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)}) "
        f"ON CONFLICT ({', '.join(_POINT_KEYS)}) DO UPDATE SET first_s = min(first_s, excluded.first_s), "
        f"last_s = max(last_s, excluded.last_s), {added}",
        rows,
    )


_SUMMED = (
    "rollouts",
    "invalid",
    "abstained",
    "reward",
    "outcome",
    "trajectory",
    "proposer_reward",
    "entropy_nats",
    "dominant_share",
    "words",
    "steps",
)
"""Figures that a point of the timeline adds up; unknown ones add nothing."""
