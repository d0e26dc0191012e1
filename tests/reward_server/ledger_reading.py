"""Ledgers to read in tests, and an HTTP client of an app that reads them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from starlette.testclient import TestClient

from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.ledger import schema
from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.settings import RewardServerSettings

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
"""A query that SQLite works on until it is interrupted."""


def keep(folder: Path, records: Iterable[Record]) -> list[int]:
    """Adds records to the ledger of a folder; returns the ids of their groups."""
    connection = schema.open_to_write(folder)
    try:
        with schema.transaction(connection):
            return [row for record in records for row in insert(connection, record)]
    finally:
        connection.close()


def reader(*folders: Path, tokens_file: Path | None = None) -> TestClient:
    """A client of an app over these ledgers; the app has no embedder."""
    app = create_app(RewardServerSettings(tokens_file=tokens_file), ledger_folders=folders)
    return TestClient(app)


def tokens(file: Path, experiments: Sequence[str]) -> dict[str, dict[str, str]]:
    """The headers that carry a new token of each experiment."""
    return {name: {"authorization": f"Bearer {add_token(file, name)}"} for name in experiments}
