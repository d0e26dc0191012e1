"""The formula worker: a child process that calculates whether two formulas are equal.

    {"op": "load"}                              -> {}
    {"op": "compare", "pair": [LaTeX, LaTeX]}   -> {"equal": true} or {"equal": false, "reason": null or why}

math-verify (on SymPy) does the work and hangs on some formulas. The kernel ends the process, with SIGPROF, when a
pair takes more processor time than it may.
"""

import logging
import os
import resource
import signal
import sys

from ireasoner.reward_server import child_process
from ireasoner.reward_server.child_process import Frame, Header

MAX_MEMORY_BYTES = 2 * 2**30
PAIR_CPU_S = 1.0
"""Processor time that a pair may take."""


def answer(header: Header, payload: bytes) -> Frame:
    """The answer to one question."""
    if header["op"] == "load":
        _load()
        return {}, b""
    signal.setitimer(signal.ITIMER_PROF, PAIR_CPU_S)
    compared = _compare(*header["pair"])
    signal.setitimer(signal.ITIMER_PROF, 0)
    return compared, b""


def _load() -> None:
    _compare("x+1", "1+x")  # SymPy loads much at its first use, which must not count as any pair's time
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(silence, stream.fileno())  # the libraries print what they cannot read


def _compare(one: str, other: str) -> Header:
    from math_verify import verify

    try:
        parsed = [_parsed(one), _parsed(other)]
        if not all(parsed):
            return {"equal": False, "reason": "not read as a formula"}
        equal = verify(*parsed, timeout_seconds=None) or verify(*parsed[::-1], timeout_seconds=None)
    except MemoryError:  # earlier pairs may have taken the memory: a new process tries again
        sys.exit("out of memory")
    except Exception as error:  # noqa: BLE001 - whatever the library raises is the answer to this pair
        return {"equal": False, "reason": type(error).__name__}
    return {"equal": bool(equal)}


def _parsed(formula: str) -> list[object]:
    from math_verify import LatexExtractionConfig, parse

    # The kernel holds the deadline; the library's own needs signals and does not stop all of its code.
    found: list[object] = parse(
        f"${formula}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
    )
    return found


if __name__ == "__main__":
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    child_process.serve(answer)
