"""The process that calculates whether two formulas are equal; it is killed when it takes too long.

Reads one JSON list of two LaTeX formulas a line, and writes one JSON object a line: `{"equal": true}`, or
`{"error": "..."}` if one cannot be read. math-verify (on SymPy) does the work, and hangs on some formulas.
"""

import json
import logging
import os
import resource
import sys

MAX_MEMORY_BYTES = 2 * 2**30


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

    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        one, other = json.loads(line)
        try:
            parsed = [read(one), read(other)]
            if all(parsed):
                equal = verify(*parsed, timeout_seconds=None) or verify(*parsed[::-1], timeout_seconds=None)
                answer: dict[str, object] = {"equal": bool(equal)}
            else:
                answer = {"error": "not read as a formula"}
        except Exception as error:  # noqa: BLE001 - whatever the library raises is the answer to this pair
            answer = {"error": type(error).__name__}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
