"""The figures of groups, as rows of a table."""

import sqlite3
from collections.abc import Iterable

from ireasoner.reward_server.ledger.ledger_wire import Summary
from ireasoner.reward_server.ledger.ledgers import RecordId

SELECT = """
SELECT groups.*, runs.experiment, runs.source, questions.question, questions.image
FROM groups JOIN runs ON runs.id = groups.run_id LEFT JOIN questions ON questions.id = groups.question_id
"""
_RENAMED = {"update": "at"}
_IDS = {"id": "id", "run": "run_id", "question_id": "question_id"}


def summaries(connection: sqlite3.Connection, ledger: int, groups: Iterable[int]) -> dict[int, Summary]:
    """The summary of each group of a ledger that is still there, by row."""
    rows = list(groups)
    marks = ", ".join("?" * len(rows))
    found = connection.execute(f"{SELECT} WHERE groups.id IN ({marks})", rows)
    return {row["id"]: summary(ledger, row) for row in found}


def summary(ledger: int, row: sqlite3.Row) -> Summary:
    """The summary of a row of `SELECT`."""
    values = {}
    for name in Summary.model_fields:
        value = row[_IDS.get(name) or _RENAMED.get(name, name)]
        values[name] = str(RecordId(ledger, value)) if name in _IDS and value is not None else value
    return Summary.model_validate(values)
