"""The groups of an atlas: read from a file of reward-score or an export, in batches that hold their groups' voters."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from ireasoner.reward_server import wire
from ireasoner.reward_server.commands.command import InputError
from ireasoner.reward_server.ledger.run_lines import UnusableLine
from ireasoner.reward_server.ledger.source_file import lines_of, parsed

BATCH = 64
"""Groups that are scored at a time."""


def read_groups(file: Path) -> list[wire.Group]:
    """The groups of a file, in its order.

    Raises:
        InputError: A line is not a group, an id is used twice, or no group has labels; the message names the line.
    """
    groups: dict[str, wire.Group] = {}
    for number, (_, line) in enumerate(lines_of(file), start=1):
        if not line.strip():
            continue
        group = _group(line, f"{file}, line {number}")
        if group.id in groups:
            raise InputError(f"{file}, line {number}: the id {group.id!r} is used more than once")
        groups[group.id] = group
    if not any(group.labels for group in groups.values()):
        raise InputError(
            f'{file}: no group has labels: add "labels": ["7"], the right answers, to some groups; a hundred show '
            "differences of about 0.1"
        )
    return list(groups.values())


def _group(line: bytes, where: str) -> wire.Group:
    try:
        group = parsed(line)
        return wire.Group.model_validate(group.get("sent", group))  # an export holds more than was sent
    except UnusableLine as error:
        raise InputError(f"{where}: {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        path = ".".join(map(str, fault["loc"]))
        reason = fault["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {path}: {reason}" if path else f"{where}: {reason}") from error


def batches(groups: Sequence[wire.Group], least: int = BATCH) -> Iterator[list[wire.Group]]:
    """The groups in batches of about `least`; a group and the one that it names as its voters are in the same one."""
    by_id = {group.id: group for group in groups}
    judged_by: dict[str, list[str]] = {}
    for group in groups:
        if group.voters in by_id:
            judged_by.setdefault(group.id, []).append(group.voters)
            judged_by.setdefault(group.voters, []).append(group.id)
    left = dict(by_id)
    batch: list[wire.Group] = []
    while left:
        linked = [next(iter(left))]
        for name in linked:  # grows while it is read
            if name in left:
                batch.append(left.pop(name))
                linked += judged_by.get(name, [])
        if len(batch) >= least:
            yield batch
            batch = []
    if batch:
        yield batch
