"""Whether two formulas are equal, calculated in a process of its own that can be killed."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections import OrderedDict
from dataclasses import dataclass

from ireasoner.reward_server.answers.formula_worker import PAIR_CPU_S
from ireasoner.reward_server.errors import FormulasUnavailable

log = logging.getLogger(__name__)

STARVED_S = 20.0
"""Wall clock within which a process that gets any processor time at all has used up a pair's."""
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 5.0
DEATHS = 2
"""How often a pair may end its process before that is taken for its answer: once may be another's doing."""
MAX_REMEMBERED = 16_384

_WORKER = (sys.executable, "-m", "ireasoner.reward_server.answers.formula_worker")
_SAME_ORDER = {"PYTHONHASHSEED": "0"}
"""SymPy's ways, and its time, depend on the order of sets."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of two formulas; `reason` tells why it is not known whether they are equal.

    `gave_up` tells that nothing more could be calculated: it costs PAIR_CPU_S, and a process, to find that out.
    """

    equal: bool
    reason: str | None = None
    gave_up: bool = False


class ExpressionComparer:
    """Compares formulas, one pair after the other; its process starts with the first.

    A comparison depends on the two formulas alone. The time that a pair may take is its processor time, which
    the kernel holds it to, so that a busy machine decides nothing; and what became of a pair is remembered.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str], Comparison] = OrderedDict()

    async def compare(self, one: str, other: str) -> Comparison:
        """Compares two formulas in LaTeX, in either order.

        Raises:
            FormulasUnavailable: The process does not start, or gets no processor time; nothing is known then.
        """
        pair = (min(one, other), max(one, other))
        if pair[0] == pair[1]:
            return Comparison(True)
        async with self._turn:
            if (known := self._known.get(pair)) is not None:
                self._known.move_to_end(pair)
                return known
            self._known[pair] = compared = await self._calculate(pair)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
            return compared

    async def stop(self) -> None:
        """Ends the process, if there is one."""
        await self._kill()

    async def _calculate(self, pair: tuple[str, str]) -> Comparison:
        for _ in range(DEATHS):
            process = await self._running()
            try:
                return await self._ask(process, pair)
            except (OSError, asyncio.IncompleteReadError):
                status = await self._ended()
                if status == -signal.SIGPROF:
                    return Comparison(False, f"not decided within {PAIR_CPU_S:g} s", gave_up=True)
                log.warning("calculating %s ended the process with %s", pair, status)
        return Comparison(False, "calculating ended the process", gave_up=True)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        process: asyncio.subprocess.Process | None = None
        try:
            process = await asyncio.create_subprocess_exec(
                *_WORKER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **_SAME_ORDER},
            )
            assert process.stdout is not None
            async with asyncio.timeout(START_DEADLINE_S):
                await process.stdout.readuntil()
        except asyncio.CancelledError:
            await _kill(process)  # the line that says it is ready would be taken for an answer
            raise
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            await _kill(process)
            reason = f"the process for formulas did not start: {type(error).__name__}"
            raise FormulasUnavailable(reason, retry_after_s=1) from error
        self._process = process
        return process

    async def _ask(self, process: asyncio.subprocess.Process, pair: tuple[str, str]) -> Comparison:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(STARVED_S):
                process.stdin.write(json.dumps(pair).encode() + b"\n")
                await process.stdin.drain()
                answer = json.loads(await process.stdout.readuntil())
        except TimeoutError as error:
            await self._kill()
            reason = (
                f"the process for formulas got less than {PAIR_CPU_S:g} s of a processor in {STARVED_S:g} s"
            )
            raise FormulasUnavailable(reason, retry_after_s=1) from error
        except asyncio.CancelledError:
            await self._kill()  # what it would still write is nobody's answer
            raise
        return Comparison(bool(answer.get("equal")), answer.get("error"))

    async def _ended(self) -> int | None:
        """The exit status of the process, which has closed its output; None if it had to be killed.

        Nothing is sent to a process that is ending: asyncio might then not learn how it ended.
        """
        process, self._process = self._process, None
        assert process is not None
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                return await process.wait()
        except TimeoutError:
            await _kill(process)
            return None

    async def _kill(self) -> None:
        process, self._process = self._process, None
        await _kill(process)


async def _kill(process: asyncio.subprocess.Process | None) -> None:
    """Ends a process at once, if there is one."""
    if process is None:
        return
    if process.returncode is None:
        process.kill()
    await process.wait()
