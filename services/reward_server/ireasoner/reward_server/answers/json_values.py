"""Answers in JSON."""

import json
from collections.abc import Callable

from ireasoner.reward_server.answers.form import Form, key_of


def json_form(text: str, read: Callable[[str], Form], rules: list[str]) -> Form | None:
    """The form of a JSON object, or of a list that contains one; the order of names does not count.

    Other lists are lists however they are written.
    """
    if text[:1] not in ("{", "[") or "{" not in text or ":" not in text:
        return None
    try:
        value = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
        key = _key(value, read)
    except (ValueError, RecursionError):
        return None
    return Form(key, (*rules, "json"), text)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _key(value: object, read: Callable[[str], Form]) -> str:
    if isinstance(value, dict):
        pairs = [key_of("member", name, _key(each, read)) for name, each in value.items()]
        return key_of("object", *sorted(pairs))
    if isinstance(value, list):
        return key_of("array", *(_key(each, read) for each in value))
    if isinstance(value, str):
        return read(value).key if value.strip() else key_of("text", value)
    return key_of("json", json.dumps(value))
