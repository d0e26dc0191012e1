"""What `/metrics` exposes of the audits of the newest runs, made again on a timer, in a thread."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.errors import ServiceError
from ireasoner.reward_server.ledger.auditing import AuditedRun, audit_run
from ireasoner.reward_server.ledger.ledgers import Ledgers
from ireasoner.reward_server.ledger.reads import Reads

log = logging.getLogger(__name__)

PERIOD_S = 60.0
"""Seconds from the end of one round of audits to the next."""
MAX_RUNS = 16
MAX_RUNS_OF_EXPERIMENT = 4
"""Runs that are audited, the newest: names of runs are up to the callers, and `/metrics` stays bounded."""

_NEWEST = """
SELECT run_id FROM (
    SELECT run_id, last_s, row_number() OVER (PARTITION BY experiment ORDER BY last_s DESC) AS place
    FROM (SELECT run_id, max(last_s) AS last_s FROM points GROUP BY run_id) JOIN runs ON runs.id = run_id
) WHERE place <= ? ORDER BY last_s DESC LIMIT ?
"""


class AuditMetrics(Collector):
    """Gauges of a ledger's newest runs: their verdict, the signs that hold and their figures.

    Texts of steps are not read for them. Runs with too few updates for a verdict are left out.

    Args:
        folder: The ledger's folder; None: there is none, and so no samples.
    """

    def __init__(self, folder: Path | None) -> None:
        self._reads = None if folder is None else Reads(Ledgers([folder]))
        self._found: list[AuditedRun] = []
        self._audited_until: int | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the timer."""
        if self._reads is not None:
            self._task = asyncio.create_task(self._go_on(self._reads), name="audits")

    async def stop(self) -> None:
        """Stops the timer, and interrupts the round of audits that it is at."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._reads is not None:
            await self._reads.close()

    async def _go_on(self, reads: Reads) -> None:
        while True:
            try:
                await reads.run(self.refresh)
            except ServiceError as error:
                log.warning("the runs of the ledger cannot be audited now: %s", error)
            except Exception:  # a bug must not end the timer
                log.exception("the runs of the ledger cannot be audited now")
            await asyncio.sleep(PERIOD_S)

    def refresh(self, ledgers: Ledgers) -> None:
        """Audits the newest runs of a ledger, if it exists and has groups that it had not the last time.

        Raises:
            LedgerUnusable: It cannot be opened.
            sqlite3.Error: It cannot be read.
        """
        for ledger in ledgers:
            with ledger.reading() as connection:
                self._audit(connection)

    def _audit(self, connection: sqlite3.Connection) -> None:
        last = connection.execute("SELECT max(id) FROM groups").fetchone()[0]
        if last != self._audited_until:
            newest = connection.execute(_NEWEST, (MAX_RUNS_OF_EXPERIMENT, MAX_RUNS)).fetchall()
            limits = Thresholds()
            self._found = [audit_run(connection, row[0], limits, reads_texts=False) for row in newest]
            self._audited_until = last

    def collect(self) -> Iterable[Metric]:
        """The families."""
        labels = ("experiment", "run")
        collapse = GaugeMetricFamily(
            "reward_audit_collapse", "1 if a collapse of a run is likely.", labels=labels
        )
        held = GaugeMetricFamily("reward_audit_sign", "Signs that hold in a run.", labels=(*labels, "sign"))
        figures = GaugeMetricFamily(
            "reward_audit_figure",
            "Figures of a run over its first window of updates and over its last.",
            labels=(*labels, "figure", "window"),
        )
        for run in self._found:
            if run.audit.verdict == "too early":
                continue
            names = (run.experiment, run.source)
            collapse.add_metric(names, float(run.audit.verdict == "collapse likely"))
            for sign in run.audit.signs:
                held.add_metric((*names, sign.name), 1.0)
            for figure in run.audit.figures:
                for window, value in (("first", figure.first), ("last", figure.now)):
                    if value is not None:
                        figures.add_metric((*names, figure.name, window), value)
        yield from (collapse, held, figures)
