"""Whether two formulas are equal, calculated in a child process that can be killed."""

import asyncio
import logging
import os
import signal
from collections import OrderedDict
from dataclasses import dataclass

from ireasoner.reward_server.answers.formula_worker import PAIR_CPU_S
from ireasoner.reward_server.child_process import ChildDied, ChildHung, ChildProcess, ChildRefused
from ireasoner.reward_server.errors import FormulasUnavailable

log = logging.getLogger(__name__)

STARVED_S = 20.0
"""Wall-clock time within which a process that gets any processor time at all has used up a pair's share."""
START_DEADLINE_S = 30.0
DEATHS = 2
"""How often a pair may end its process before it is given up; a single death may have another cause."""
MAX_REMEMBERED = 16_384

_SAME_ORDER = {"PYTHONHASHSEED": "0"}
"""SymPy's methods, and the time they take, depend on the order of sets."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known about two formulas; `reason` says why it is unknown whether they are equal.

    `gave_up` marks a pair that ended its process, which costs PAIR_CPU_S and a new process.
    """

    equal: bool
    reason: str | None = None
    gave_up: bool = False


class ExpressionComparer:
    """Compares formulas, one pair at a time; its process starts with the first pair.

    A comparison depends on the two formulas alone: a pair's limit is processor time, which the kernel enforces,
    so a busy machine changes nothing, and results are remembered.
    """

    def __init__(self) -> None:
        self._child: ChildProcess | None = None
        self._turn = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str], Comparison] = OrderedDict()

    async def compare(self, one: str, other: str) -> Comparison:
        """Compares two formulas in LaTeX, in either order.

        Raises:
            FormulasUnavailable: The process does not start, or gets no processor time. Nothing is remembered.
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
        if self._child is not None:
            self._child.kill()
            await self._child.stop()

    async def _calculate(self, pair: tuple[str, str]) -> Comparison:
        for _ in range(DEATHS):
            child = await self._running()
            try:
                return await _ask(child, pair)
            except ChildHung as error:
                reason = (
                    f"the formula worker got less than {PAIR_CPU_S:g} s of a processor in {STARVED_S:g} s"
                )
                raise FormulasUnavailable(reason, retry_after_s=1) from error
            except ChildDied as error:
                if error.status == -signal.SIGPROF:
                    return Comparison(False, f"not decided within {PAIR_CPU_S:g} s", gave_up=True)
                log.warning("comparing the formulas %s: %s", pair, error)
        return Comparison(False, "calculating ended the process", gave_up=True)

    async def _running(self) -> ChildProcess:
        if self._child is not None and self._child.is_running:
            return self._child
        try:
            self._child = await ChildProcess.start(
                "formula worker",
                "ireasoner.reward_server.answers.formula_worker",
                {"op": "load"},
                START_DEADLINE_S,
                {**os.environ, **_SAME_ORDER},
            )
        except (OSError, ChildDied, ChildRefused) as error:
            reason = f"the formula worker did not start: {error}"
            raise FormulasUnavailable(reason, retry_after_s=1) from error
        return self._child


async def _ask(child: ChildProcess, pair: tuple[str, str]) -> Comparison:
    try:
        answer, _ = await child.ask({"op": "compare", "pair": pair}, deadline_s=STARVED_S)
    except asyncio.CancelledError:
        child.kill()  # the next pair must not wait for this one, nor be blamed for its processor time
        raise
    return Comparison(answer["equal"], answer.get("reason"))
