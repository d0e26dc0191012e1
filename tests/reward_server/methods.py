"""Groups in which rollouts have only what a method reads: answers, views, signals."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.reward_server.requests import Json, rollout

METHODS = (
    "ttrl",
    "ttrl-strict",
    "empo",
    "self-certainty",
    "entropy-minimisation",
    "sequence-probability",
    "co-rewarding",
    "judge-bounded",
    "views",
)
"""The presets of wire 2.2."""


def voting(answers: Sequence[object], group_id: str = "g", *, voters: str | None = None, **each: Any) -> Json:
    """A group whose rollouts give these answers, None for none; `each` holds a list of values by field.

    None in such a list leaves the field out.
    """
    rollouts = []
    for index, answer in enumerate(answers):
        text = rollout(None if answer is None else str(answer))
        fields = {name: values[index] for name, values in each.items() if values[index] is not None}
        rollouts.append({"id": str(index), "text": text, **fields})
    return {"id": group_id, "rollouts": rollouts, **({} if voters is None else {"voters": voters})}


def signalled(name: str, values: Sequence[float | None], answers: Sequence[object] | None = None) -> Json:
    """A group whose rollouts have these values of one signal, None for none."""
    signals: list[Mapping[str, float] | None] = [None if each is None else {name: each} for each in values]
    return voting(answers or [7] * len(values), signals=signals)


def statuses(scored: Json) -> list[str]:
    """The status of each rollout."""
    return [each["status"] for each in scored["rollouts"]]
