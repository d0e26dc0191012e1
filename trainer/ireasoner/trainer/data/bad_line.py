"""Finds the line that spoils a file of JSON lines, which `datasets` does not name."""

import json
from pathlib import Path


def first_bad_line(path: Path) -> str | None:
    """What is wrong with the first line that is no JSON object; None if all are, or the file is one JSON value."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return None
    if content.lstrip()[:1] == b"[":
        return None
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            return f"line {number}: not JSON: {error}"
        if not isinstance(value, dict):
            return f"line {number}: not a JSON object: {json.dumps(value)[:80]}"
    return None
