"""Listeners to the ledger's changes: how many each experiment may have."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ireasoner.reward_server.errors import Overloaded
from ireasoner.reward_server.ledger import changes
from ireasoner.reward_server.ledger.changes import Change, Changes
from ireasoner.reward_server.ledger.ledgers import Viewer


class NoReads:
    """Reads of no ledger."""

    async def run(self, read: Callable[..., Any], *_: object) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("arriving", "admitted"),
    [
        ([None] * 9, [None] * 8),
        (["a"] * 9, ["a"] * 4),
        (["a"] * 9 + ["b"] * 9, ["a"] * 4 + ["b"] * 2),
        (["a"] * 9 + ["b"] * 9 + ["c"] * 9, ["a"] * 4 + ["b"] * 2 + ["c"]),
        (["a"] * 9 + [None] * 9, ["a"] * 4 + [None] * 4),
        (["a", "b"] * 9, ["a", "b", "a", "b", "a", "b"][:6]),
    ],
)
def test_no_experiment_takes_all_streams(
    arriving: list[str | None], admitted: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_LISTENERS", 8)

    async def listen_all() -> list[str | None]:
        reads: Any = NoReads()
        listening = Changes(reads, lambda: False)
        streams: list[AsyncIterator[Change | None]] = []
        got = []
        for experiment in arriving:
            try:
                stream = await listening.listen(Viewer(experiment), None)
            except Overloaded:
                continue
            await anext(stream)
            streams.append(stream)
            got.append(experiment)
        await listening.close()
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        return got

    assert asyncio.run(listen_all()) == admitted
