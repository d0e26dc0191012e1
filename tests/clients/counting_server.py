"""A server that counts its connections, and what is in progress at a time."""

import asyncio
import json
from typing import Any

from tests.clients.answers import Json, right_answer
from tests.clients.lying_server import response

COHORT_ANSWER = {
    **dict.fromkeys(("reward", "outcome", "trajectory", "dominant_share", "valid", "steps_judged"), 1.0),
    **dict.fromkeys(("tie", "abstained", "partial"), 0.0),
    "group_size": 3.0,
}


class Served:
    """Counts connections and answers each request rightly, slowly enough that calls meet; a cohort has 3 rollouts."""

    def __init__(self) -> None:
        self.images = 0
        self.cohort = asyncio.Barrier(3)
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(0.01)
                self.at_once -= 1
                answer = json.dumps(await self._answer(head.split()[1], body)).encode()
                writer.write(response(answer, connection="keep-alive"))
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    async def _answer(self, path: bytes, body: bytes) -> Json:
        if path.startswith(b"/ledger/images/"):
            self.images += 1
            return {}
        if path.startswith(b"/cohort/"):
            await self.cohort.wait()
            return COHORT_ANSWER
        return right_answer(json.loads(body))


def served(run: Any) -> tuple[Served, Any]:
    """The result of `run(url)` beside a server on the same event loop."""
    counts = Served()

    async def main() -> Any:
        server = await asyncio.start_server(counts, "127.0.0.1", 0, backlog=1024)
        async with server:
            return await run(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    return counts, asyncio.run(main())
