"""Whether two formulas are equal, calculated in a process of its own that can be killed."""

import asyncio
import json
import logging
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass

log = logging.getLogger(__name__)

PAIR_DEADLINE_S = 2.0
START_DEADLINE_S = 30.0
BUDGET_S = 10.0
"""What the pairs of one request may take together; what is left over then is not compared."""
MAX_REMEMBERED = 16_384

_WORKER = (sys.executable, "-m", "services.reward_server.expression_worker")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of two formulas; `reason` tells why it is not known whether they are equal."""

    equal: bool
    reason: str | None = None


class Budget:
    """The time that the comparisons of one request may still take, on a monotonic clock."""

    def __init__(self, seconds: float = BUDGET_S) -> None:
        self.left_s = seconds


class ExpressionComparer:
    """Compares formulas, one pair after the other; its process starts with the first.

    A pair that takes longer than PAIR_DEADLINE_S, or ends the process, is not known to be equal, now and
    whenever it is asked for again; its process is killed and the next pair gets a new one.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str], Comparison] = OrderedDict()

    async def compare(self, one: str, other: str, budget: Budget) -> Comparison:
        """Compares two formulas in LaTeX, in either order; takes its time off `budget`."""
        pair = (min(one, other), max(one, other))
        if pair[0] == pair[1]:
            return Comparison(True)
        async with self._turn:
            if (known := self._known.get(pair)) is not None:
                self._known.move_to_end(pair)
                return known
            if budget.left_s <= 0:
                return Comparison(False, "the request's time for formulas was used up")
            try:
                process = await self._running()
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.exception("the process for formulas did not start")
                await self._kill()
                return Comparison(False, f"the process for formulas did not start: {type(error).__name__}")
            started_s = time.monotonic()
            compared = await self._ask(process, pair)
            budget.left_s -= time.monotonic() - started_s
            self._known[pair] = compared
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
            return compared

    async def stop(self) -> None:
        """Ends the process, if there is one."""
        await self._kill()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *_WORKER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert self._process.stdout is not None
            async with asyncio.timeout(START_DEADLINE_S):
                await self._process.stdout.readuntil()
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, pair: tuple[str, str]) -> Comparison:
        assert process.stdin is not None
        assert process.stdout is not None
        answered = False
        try:
            async with asyncio.timeout(PAIR_DEADLINE_S):
                process.stdin.write(json.dumps(pair).encode() + b"\n")
                await process.stdin.drain()
                answer = json.loads(await process.stdout.readuntil())
                answered = True
        except TimeoutError:
            return Comparison(False, f"not decided within {PAIR_DEADLINE_S:g} s")
        except (OSError, asyncio.IncompleteReadError):
            return Comparison(False, "calculating ended the process")
        finally:
            if (
                not answered
            ):  # also if the request was cancelled: what it would still write is nobody's answer
                await self._kill()
        return Comparison(bool(answer.get("equal")), answer.get("error"))

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()
