"""A server over a ledger that is only read, whose pages the tests of the explorer open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ireasoner.reward_server.ledger import schema
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, Plan
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.schema import UNKNOWN
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.compass import write_compass
from tests.reward_server.ledger_records import record, scored, scored_for_proposer, sent
from tests.reward_server.running import running

UPDATES = 900
"""Updates of the run `long`: more than the points of its timeline."""
MINUTES, GROUPS_PER_MINUTE = 5, 3
"""Of the run `minutes`, whose groups have no update."""
FIRST_MINUTE_S = 60.0 * 28_000_000
PROPOSER_UPDATES = (2, 5)
"""Of the six updates of the run `both`; the others are the Solver's."""
COMPARED = 100
"""Groups of the comparison `many`: two pages."""


@dataclass
class ReadServer:
    """A server over a ledger with runs of many updates, of both roles and of minutes, and a comparison named `many`."""

    url: str
    ledger: Path

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an endpoint under `/ledger/`."""
        return httpx.get(f"{self.url}/ledger/{path}", params=query, timeout=30).raise_for_status().json()

    def run_id(self, source: str) -> str:
        """The id of a run."""
        return next(str(run["id"]) for run in self.get("runs")["runs"] if run["source"] == source)


@contextmanager
def read_server(folder: Path) -> Iterator[ReadServer]:
    """Runs the server over a ledger that it writes into `folder`."""
    _write_ledger(folder / "ledger")
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=write_compass(folder))
    with running(settings, ledger_folders=[folder / "ledger"]) as url:
        yield ReadServer(url, folder / "ledger")


def _write_ledger(folder: Path) -> None:
    connection = schema.open_to_write(folder)
    with schema.transaction(connection):
        for update in range(UPDATES):
            group = sent(["7", "7", "8"], f"g{update}", question=f"What is {update} plus {update % 7}?")
            insert(connection, record(group, sequence=update + 1, source="long", update=update))
        for minute in range(MINUTES):
            for index in range(GROUPS_PER_MINUTE):
                insert(
                    connection,
                    record(
                        sent(["7", "8"], f"m{minute}-{index}"),
                        feed="minutes",
                        sequence=GROUPS_PER_MINUTE * minute + index + 1,
                        source="minutes",
                        received_s=FIRST_MINUTE_S + 60 * minute + 20 * index,
                    ),
                )
        for update in range(6):
            is_proposer = update in PROPOSER_UPDATES
            group = sent(["1", "2", "3"] if is_proposer else ["7"] * (1 + update) + ["8"], f"b{update}")
            scores = scored_for_proposer(group) if is_proposer else scored(group)
            insert(
                connection,
                record(
                    groups=[{"group": group, "scored": scores}],
                    feed="both",
                    sequence=update + 1,
                    source="both",
                    update=update,
                    endpoint="proposer" if is_proposer else "solver",
                ),
            )
        unknown = sent(["7", "8"], "imported")
        insert(connection, record(unknown, sequence=UPDATES + 1, source="imported", config_label=UNKNOWN))
    connection.close()
    change = GroupChange([0.5, 0.25], [0.25, 0.5], "7", "8")
    with ComparisonFile(folder, "many", Plan("robust", "paper", {})) as file:
        file.expect(COMPARED)
        file.add((group_id, "-", change) for group_id in range(1, COMPARED + 1))
