"""Keeps a ledger within its size: the oldest update of the whole ledger goes first, again and again.

The groups of the oldest group's run and update go first, the oldest first and up to 64 at once until there is room; the
newest of an update can stay. Groups without an update go by the minute in which they came. Points of the timeline stay
as long as any group of their run does. Images go once no question of their experiment names them.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ireasoner.reward_server.ledger.images import image_file
from ireasoner.reward_server.ledger.insert import unindex
from ireasoner.reward_server.ledger.record import unpacked
from ireasoner.reward_server.ledger.schema import IMAGES, transaction

AT_ONCE = 64
"""Groups of one transaction, which takes about a tenth of a second."""
PAGES_AT_ONCE = 1_024
"""Pages that are given back at once."""
MERGED_PAGES = 1_000
"""Pages of the full-text index that are merged at once."""
UNNAMED_S = 600.0
"""How long an image that no question names is kept: its groups may still be scored."""
UNLINKED_AT_ONCE = 1_000
"""Files of images that are removed while nobody else can write."""
EVICTED_RUNS = 0
"""The row of `evictions` that counts runs of which nothing is left."""


class Evicted(NamedTuple):
    """What was removed; false if it is nothing.

    Attributes:
        groups: How many.
        images: Of experiments; another experiment may keep the same image.
        image_bytes: Of images that no experiment has any more.
    """

    groups: int = 0
    images: int = 0
    image_bytes: int = 0

    def __bool__(self) -> bool:
        return self.groups + self.images > 0


def used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of the pages that hold something; the file reuses the others."""
    pages, free, size = (_pragma(connection, name) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def image_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of all images; reads all rows, so `Evicted` says by how much they change."""
    rows = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM (SELECT DISTINCT sha256, bytes FROM images)"
    )
    return int(rows.fetchone()[0])


def shrink(connection: sqlite3.Connection, max_bytes: int) -> bool:
    """Gives free pages of a larger file back to the file system; returns whether there were any."""
    pages, free, size = (_pragma(connection, name) for name in ("page_count", "freelist_count", "page_size"))
    surplus = min(pages - max_bytes // size, free, PAGES_AT_ONCE)
    if surplus > 0:
        connection.execute(f"PRAGMA incremental_vacuum({surplus})").fetchall()
    return surplus > 0


def groups_held(connection: sqlite3.Connection) -> int:
    """About how many groups there are: ids have no large gaps, because the oldest groups go first."""
    first, last = connection.execute(
        "SELECT (SELECT min(id) FROM groups), (SELECT max(id) FROM groups)"  # in one SELECT they scan the table
    ).fetchone()
    return 0 if first is None else int(last - first + 1)


def merge_index(connection: sqlite3.Connection, *, from_start: bool) -> bool:
    """Takes some of what was removed out of the full-text index, which else only marks it; returns whether to go on."""
    before = connection.total_changes
    pages = -MERGED_PAGES if from_start else MERGED_PAGES
    connection.execute("INSERT INTO texts (texts, rank) VALUES ('merge', ?)", (pages,))
    return connection.total_changes - before >= 2  # fewer: there was nothing to merge


def evict_oldest(connection: sqlite3.Connection, folder: Path) -> Evicted:
    """Removes groups of the oldest update, and the images that they alone name, in a transaction of its own."""
    with transaction(connection):
        groups, unnamed = _oldest_groups(connection)
        files = _remove_images(connection, unnamed)
    _unlink(connection, folder, [*files])
    return Evicted(groups, len(unnamed), sum(files.values()))


def evict_unnamed(connection: sqlite3.Connection, folder: Path, before_s: float, most: int = -1) -> Evicted:
    """Removes the oldest images that were put before a time and that no question names.

    At most `most` are removed, all if it is negative.
    """
    with transaction(connection):
        unnamed = connection.execute(
            "SELECT sha256, experiment FROM images WHERE put_s < ? AND NOT EXISTS (SELECT 1 FROM runs "
            "JOIN questions ON run_id = runs.id WHERE runs.experiment = images.experiment AND image = sha256) "
            "ORDER BY put_s LIMIT ?",
            (before_s, most),
        ).fetchall()
        files = _remove_images(connection, unnamed)
    _unlink(connection, folder, [*files])
    return Evicted(0, len(unnamed), sum(files.values()))


def remove_orphans(connection: sqlite3.Connection, folder: Path) -> None:
    """Removes the files of images that no row names, which a killed writer left."""
    _unlink(connection, folder, [file.name for file in (folder / IMAGES).glob("*/*")])


def _oldest_groups(connection: sqlite3.Connection) -> tuple[int, list[tuple[str, str]]]:
    """Removes groups of the oldest update; returns how many, and the images that no question names any more."""
    oldest = connection.execute("SELECT run_id, at, received_s FROM groups ORDER BY id LIMIT 1").fetchone()
    if oldest is None:
        return 0, []
    run_id, at, received_s = oldest
    if at is not None:
        chosen = connection.execute(
            "SELECT id, question_id, scoring_id, received_s, rollouts FROM groups WHERE run_id = ? AND at = ? "
            "ORDER BY id LIMIT ?",
            (run_id, at, AT_ONCE),
        ).fetchall()
    else:
        chosen = connection.execute(
            "SELECT id, question_id, scoring_id, received_s, rollouts FROM groups WHERE run_id = ? AND at IS NULL "
            "AND received_s < ? ORDER BY id LIMIT ?",
            (run_id, 60.0 * (received_s // 60 + 1), AT_ONCE),
        ).fetchall()
    for group_id, *_ in chosen:
        _remove_group(connection, group_id, run_id)
    until_s, rollouts = max(each[3] for each in chosen), sum(each[4] for each in chosen)
    _count(connection, run_id, len(chosen), rollouts, until_s)
    unnamed = _remove_questions(connection, {each[1] for each in chosen} - {None})
    for scoring_id in {each[2] for each in chosen}:
        connection.execute(
            "DELETE FROM scorings WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM groups WHERE scoring_id = ?1)",
            (scoring_id,),
        )
    if connection.execute("SELECT 1 FROM groups WHERE run_id = ? LIMIT 1", (run_id,)).fetchone() is None:
        _remove_run(connection, run_id)
    return len(chosen), unnamed


def _remove_group(connection: sqlite3.Connection, group_id: int, run_id: int) -> None:
    document = connection.execute("SELECT document FROM documents WHERE group_id = ?", (group_id,)).fetchone()
    if document is not None:
        unindex(connection, group_id, run_id, unpacked(document[0]))
    connection.execute("DELETE FROM documents WHERE group_id = ?", (group_id,))
    connection.execute("DELETE FROM groups WHERE id = ?", (group_id,))


def _count(connection: sqlite3.Connection, run_id: int, groups: int, rollouts: int, until_s: float) -> None:
    """Remembers how much of a run is gone."""
    connection.execute(
        "INSERT INTO evictions VALUES (?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET "
        "groups = groups + excluded.groups, rollouts = rollouts + excluded.rollouts, "
        "until_s = max(until_s, excluded.until_s)",
        (run_id, groups, rollouts, until_s),
    )


def _remove_run(connection: sqlite3.Connection, run_id: int) -> None:
    """Removes what is left of a run without groups; its evicted groups count with those of other such runs."""
    evicted = connection.execute(
        "DELETE FROM evictions WHERE run_id = ? RETURNING groups, rollouts, until_s", (run_id,)
    )
    _count(connection, EVICTED_RUNS, *evicted.fetchone())
    for table, column in (("points", "run_id"), ("questions", "run_id"), ("runs", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (run_id,))


def _remove_questions(connection: sqlite3.Connection, question_ids: Iterable[int]) -> list[tuple[str, str]]:
    """Removes questions without groups; returns the images, with their experiments, that none names any more."""
    unnamed = []
    for question_id in question_ids:
        gone = connection.execute(
            "DELETE FROM questions WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM groups WHERE question_id = ?1) "
            "RETURNING image, run_id",
            (question_id,),
        ).fetchone()
        if gone is not None and gone[0] is not None:
            unnamed += _unnamed(connection, *gone)
    return unnamed


def _unnamed(connection: sqlite3.Connection, sha256: str, run_id: int) -> list[tuple[str, str]]:
    """The image with its experiment, unless another question of the run's experiment names it."""
    return connection.execute(
        "SELECT ?1, gone.experiment FROM runs AS gone WHERE gone.id = ?2 AND NOT EXISTS (SELECT 1 FROM runs "
        "JOIN questions ON run_id = runs.id WHERE runs.experiment = gone.experiment AND image = ?1)",
        (sha256, run_id),
    ).fetchall()


def _remove_images(connection: sqlite3.Connection, images: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Removes images of experiments; returns those that no experiment has any more: their bytes by their hashes."""
    files = {}
    for sha256, experiment in images:
        removed = connection.execute(
            "DELETE FROM images WHERE sha256 = ? AND experiment = ? RETURNING bytes", (sha256, experiment)
        ).fetchone()
        left = connection.execute("SELECT 1 FROM images WHERE sha256 = ? LIMIT 1", (sha256,)).fetchone()
        if removed is not None and left is None:
            files[sha256] = int(removed[0])
    return files


def _unlink(connection: sqlite3.Connection, folder: Path, names: Sequence[str]) -> None:
    """Removes those of these files of images that no row names.

    It holds the write lock: whoever stores an image stores file and row in one transaction, so a file without a row is
    no image that another process is about to commit.
    """
    for start in range(0, len(names), UNLINKED_AT_ONCE):
        with transaction(connection):
            for name in names[start : start + UNLINKED_AT_ONCE]:
                named = connection.execute(
                    "SELECT 1 FROM images WHERE sha256 = ? LIMIT 1", (name,)
                ).fetchone()
                if named is None:
                    image_file(folder, name).unlink(missing_ok=True)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
