"""Groups as JSON lines: one at a time, so that memory does not grow with their number."""

from collections.abc import AsyncIterator
from contextlib import suppress

import orjson

from ireasoner.reward_server.errors import NoSuchRecord
from ireasoner.reward_server.ledger import group_list, whole_group
from ireasoner.reward_server.ledger.group_query import GroupQuery
from ireasoner.reward_server.ledger.ledger_wire import Groups
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.reads import Reads

PAGE = 100
"""Groups that are looked up at once; each has a read transaction of its own, so that the ledger can be written."""


class Lines:
    """The groups that a query matches, as lines."""

    def __init__(self, reads: Reads, viewer: Viewer, query: GroupQuery) -> None:
        self._reads = reads
        self._viewer = viewer
        self._query = query

    async def start(self) -> AsyncIterator[bytes]:
        """The lines; raises what `group_list.page` raises, before the first line."""
        return self._lines(await self._page(None))

    async def _page(self, cursor: str | None) -> Groups:
        return await self._reads.run(group_list.page, self._viewer, self._query, PAGE, cursor)

    async def _lines(self, page: Groups) -> AsyncIterator[bytes]:
        while True:
            for group in page.groups:
                with suppress(NoSuchRecord):  # evicted meanwhile
                    yield await self._reads.run(_line, self._viewer, RecordId.parse(group.id))
            if page.next is None:
                return
            page = await self._page(page.next)


def _line(ledgers: Ledgers, viewer: Viewer, record: RecordId) -> bytes:
    return orjson.dumps(whole_group.whole(ledgers, viewer, record)) + b"\n"
