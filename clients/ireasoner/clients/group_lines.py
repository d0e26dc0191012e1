"""A JSON-lines file of groups, and the line number of each group."""

import json
import re
from collections.abc import Iterator
from typing import TextIO

from ireasoner.clients.codec import decode_group
from ireasoner.clients.wire import Group


class UnreadableGroup(Exception):
    """A line of the input is not a group, or repeats the id of an earlier one."""


class GroupLines:
    """The groups of a JSON-lines file, read once; messages call the file `name`.

    Reading raises UnreadableGroup, with file name and line number, for a line that is not a group or repeats an id.
    """

    def __init__(self, lines: TextIO, name: str) -> None:
        self._lines = lines
        self._name = name
        self._numbers: dict[str, int] = {}
        """Line numbers by group id, in the order of the file."""

    def __iter__(self) -> Iterator[Group]:
        for number, line in enumerate(self._lines, start=1):
            if not line.strip():
                continue
            try:
                group = _group(line)
                first = self._numbers.setdefault(group.id, number)
                if first != number:
                    raise ValueError(f"the id {group.id!r} is already used on line {first}")  # noqa: TRY301
            except (ValueError, TypeError) as error:
                raise UnreadableGroup(f"{self._name}:{number}: {error}") from error
            yield group

    def locate(self, path: str, before: int) -> str:
        """Translates a path in a request, like `groups[0].rollouts[1].text`, into the line and id in the file.

        `before` is the number of groups in earlier requests. A path outside of all groups is returned unchanged.
        """
        in_group = re.fullmatch(r"groups\[(\d+)\](?:\.(.*))?", path)
        if in_group is None or (index := before + int(in_group[1])) >= len(self._numbers):
            return path
        group_id, number = list(self._numbers.items())[index]
        line = f"{self._name}:{number} (id {group_id!r})"
        return f"{line}: {in_group[2]}" if in_group[2] else line


def _group(line: str) -> Group:
    try:
        group = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}: column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(group, dict):
        raise ValueError("not an object")  # noqa: TRY004
    return decode_group(group)
