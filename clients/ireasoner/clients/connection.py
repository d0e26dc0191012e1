"""How an adapter reaches its server; on an event loop, the calls of all adapters share the connections."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from ireasoner.clients.async_client import AsyncRewardClient
from ireasoner.clients.fingerprints import Fingerprints
from ireasoner.clients.sync_client import RewardClient
from ireasoner.clients.waits import Reports

Warn = Callable[[str], object]


@dataclass(frozen=True)
class ToLogger:
    """Warns through the logger of a framework, looked up anew each time: AReaL replaces all loggers as it runs."""

    name: str

    def __call__(self, message: str) -> None:
        """Logs a message."""
        logging.getLogger(self.name).warning("%s", message)


Client = TypeVar("Client", RewardClient, AsyncRewardClient)


@dataclass(slots=True)
class _Shared:
    """A client of one event loop, how many use it now, and whether it stays open after them."""

    client: AsyncRewardClient
    users: int = 0
    stays: bool = False


class Connection(NamedTuple):
    """The settings of a client. Equal ones share a client on each event loop."""

    url: str
    token: str | None
    timeout_s: float
    retry_budget_s: float
    fingerprints: Fingerprints
    warn: Warn

    def client(self) -> RewardClient:
        """A client that says through `warn` when it waits."""
        return self._made(RewardClient)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[AsyncRewardClient]:
        """The client of this event loop, which is closed when the last of its users leaves."""
        shared = self._of_this_loop()
        shared.users += 1
        try:
            yield shared.client
        finally:
            shared.users -= 1
            if not shared.users and not shared.stays:
                del _clients()[self]
                await shared.client.aclose()

    def keep(self) -> None:
        """Leaves the connections of this event loop open between calls, for the life of the process.

        Nothing closes them, and they keep the loop in memory: only for a loop that lasts as long as a training.
        """
        self._of_this_loop().stays = True

    def _of_this_loop(self) -> _Shared:
        clients = _clients()
        if self not in clients:
            clients[self] = _Shared(self._made(AsyncRewardClient))
        return clients[self]

    def _made(self, kind: type[Client]) -> Client:
        return kind(
            self.url,
            token=self.token,
            timeout_s=self.timeout_s,
            retry_budget_s=self.retry_budget_s,
            fingerprints=self.fingerprints,
            on_wait=_reports(self.url, self.warn),
        )


@lru_cache(maxsize=64)
def _reports(url: str, warn: Warn) -> Reports:
    """The clients of one server share the interval between reports, because some adapters make one for every batch."""
    return Reports(
        lambda reason, left_s: warn(
            f"waiting for the reward server: {reason}; giving up in about {left_s:.0f} s"
        )
    )


_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Connection, _Shared]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _clients() -> dict[Connection, _Shared]:
    """The clients of this event loop."""
    with _LOCK:
        return _CLIENTS.setdefault(asyncio.get_running_loop(), {})
