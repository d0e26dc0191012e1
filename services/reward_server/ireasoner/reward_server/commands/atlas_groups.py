"""The groups of an atlas, in batches that hold their groups' voters.

They are read from a file of reward-score, an export of the explorer, or the answers that `ireasoner evaluate` saves.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ireasoner.reward_server import wire
from ireasoner.reward_server.commands.command import InputError
from ireasoner.reward_server.ledger.run_lines import UnusableLine, is_of_run
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
        group = _group(line, number, f"{file}, line {number}")
        if group is None:
            continue
        if group.id in groups:
            raise InputError(f"{file}, line {number}: the id {group.id!r} is used more than once")
        groups[group.id] = group
    if not any(group.labels for group in groups.values()):
        raise InputError(
            f'{file}: no group has labels: add "labels": ["7"], the right answers, to some groups; a hundred show '
            "differences of about 0.1"
        )
    return list(groups.values())


def _group(line: bytes, number: int, where: str) -> wire.Group | None:
    """The group of a line; None if it is a question that could not be asked."""
    try:
        group = parsed(line)
        if is_of_run(group):
            raise InputError(
                f"{where}: this is a groups.jsonl of a run folder, which holds scores: import the run into a ledger "
                "(ireasoner import RUN --ledger FOLDER), and export groups from the explorer (ireasoner explore FOLDER)"
            )
        if "error" in group and not group.keys() & {"rollouts", "sent"}:
            return None  # `evaluate` could not ask this question
        if isinstance(group.get("sampled"), list):
            return wire.Group.model_validate(_of_answers(group, number))
        return wire.Group.model_validate(group.get("sent", group))  # an export holds more than was sent
    except UnusableLine as error:
        raise InputError(f"{where}: {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        path = ".".join(map(str, fault["loc"]))
        reason = fault["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {path}: {reason}" if path else f"{where}: {reason}") from error


def _of_answers(line: dict[str, Any], number: int) -> dict[str, Any]:
    """The group of a line of `ireasoner evaluate`'s answers; what is missing is left out."""
    texts = [reply.get("text") if isinstance(reply, dict) else reply for reply in line["sampled"]]
    return {
        "id": f"line {number}",
        "rollouts": [{"id": str(index), "text": text} for index, text in enumerate(texts)],
        "labels": line.get("labels"),
    }


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
