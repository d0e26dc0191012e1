"""The process that calculates whether two formulas are equal; the kernel ends it when that takes too long.

Reads one JSON list of two LaTeX formulas a line, and writes one JSON object a line: `{"equal": true}`, or
`{"error": "..."}` if one cannot be read. math-verify (on SymPy) does the work, and hangs on some formulas.
"""

import json
import logging
import os
import resource
import signal
import sys

MAX_MEMORY_BYTES = 2 * 2**30
PAIR_CPU_S = 1.0
"""Processor time that a pair may take."""


def main() -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    sys.stdout = sys.stderr  # what libraries print must not be taken for an answer
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))

    from math_verify import LatexExtractionConfig, parse, verify

    def read(formula: str) -> list[object]:
        # The parent has the deadline; the library's own needs signals and does not stop all of its code.
        found: list[object] = parse(
            f"${formula}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
        )
        return found

    def compare(one: str, other: str) -> dict[str, object]:
        try:
            parsed = [read(one), read(other)]
            if not all(parsed):
                return {"error": "not read as a formula"}
            equal = verify(*parsed, timeout_seconds=None) or verify(*parsed[::-1], timeout_seconds=None)
            return {"equal": bool(equal)}
        except MemoryError:  # what was calculated before may have taken it: a new process tries again
            raise
        except Exception as error:  # noqa: BLE001 - whatever the library raises is the answer to this pair
            return {"error": type(error).__name__}

    compare("x+1", "1+x")  # what SymPy loads at its first use is not to be any pair's time
    print(json.dumps({"ready": True}), file=answers)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, PAIR_CPU_S)
        answer = compare(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
