"""The fields of a JSON object that a server sent, each checked as it is read."""

import json
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

T = TypeVar("T")
Fields = Mapping[str, Any]

LARGEST = sys.float_info.max
ROUNDING = 1e-9
"""How far a number may lie outside its range: a mix of two rewards of 1 can be the next number after 1."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxother = 2, 3, 3, 80, 80


class WrongField(Exception):
    """A field is missing, or has a value that the API does not allow.

    Args:
        path: Path of the field in what was read; empty for the whole.
        reason: What was found there and, where that helps, what was expected.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path or 'the whole'} {reason}")

    def within(self, outer: str) -> "WrongField":
        """The same error, seen from what holds the part that was read."""
        return WrongField(f"{outer}.{self.path}" if self.path else outer, self.reason)


class Sent(Protocol):
    """A part of a request that comes back under its id."""

    @property
    def id(self) -> str:
        """Unique among the parts beside it."""


class _Repeated(dict[str, Any]):
    """A JSON object in which a key occurs twice: two readers of it could read two different values."""


def shown(value: object) -> str:
    """A value for a message, cut short."""
    return _SHORT.repr(value)


def parsed(body: bytes) -> Any:
    """The JSON value in `body`; raises WrongField if it is not JSON in UTF-8, or nested too deeply to read."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_object)
    except RecursionError:
        reason = "is nested too deeply"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 ({error.reason})"
    except ValueError as error:
        reason = f"is not JSON ({error})" if body else "is empty"
    raise WrongField("", f"{reason}; it begins with {shown(body)}" if body else reason)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _Repeated(fields)


def as_object(value: object) -> Fields:
    """The object that `value` must be."""
    if not isinstance(value, dict):
        _refuse("", value, "an object")
    if isinstance(value, _Repeated):
        raise WrongField("", f"has a key twice: {shown(list(value))}")
    return value


def text(fields: Fields, name: str) -> str:
    """A string; half of a surrogate pair is refused, because no file or terminal takes it."""
    return _text(name, _field(fields, name))


def number(fields: Fields, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """A finite number from `low` to `high`, give or take a rounding error."""
    value = _field(fields, name)
    if type(value) not in (int, float) or not low - ROUNDING <= value <= high + ROUNDING:
        limits = f"from {low:g} to {high:g}" if high < LARGEST else f"of at least {low:g}"
        _refuse(name, value, f"a number {limits}")
    return float(value)


def whole(fields: Fields, name: str, low: int) -> int:
    """A whole number of at least `low`."""
    value = _field(fields, name)
    if type(value) is not int or value < low:
        _refuse(name, value, f"a whole number of at least {low}")
    return value


def numbers(fields: Fields, name: str) -> dict[str, float]:
    """An object of finite numbers; empty if it is missing."""
    values = as_object(fields.get(name, {}))
    try:
        return {each: number(values, each, -LARGEST, LARGEST) for each in values}
    except WrongField as wrong:
        raise wrong.within(name) from None


def flag(fields: Fields, name: str) -> bool:
    """True or false."""
    value = _field(fields, name)
    if not isinstance(value, bool):
        _refuse(name, value, "true or false")
    return value


def one_of(fields: Fields, name: str, *allowed: str) -> str:
    """One of the strings `allowed`."""
    value = _field(fields, name)
    if not isinstance(value, str) or value not in allowed:
        _refuse(name, value, f"one of {', '.join(allowed)}")
    return value


def nullable(read: Callable[..., T], fields: Fields, name: str, *limits: float) -> T | None:
    """None if the field is null, else what `read` returns."""
    return None if _field(fields, name) is None else read(fields, name, *limits)


def texts(fields: Fields, name: str, *, required: bool = True) -> tuple[str, ...]:
    """A list of strings; empty if it is missing and not required."""
    if not required and name not in fields:
        return ()
    return tuple(_text(f"{name}[{index}]", each) for index, each in enumerate(_list(fields, name)))


def objects(
    fields: Fields, name: str, read: Callable[[Fields], T], *, required: bool = True
) -> tuple[T, ...]:
    """A list of objects, each as `read` reads it; empty if it is missing and not required."""
    if not required and name not in fields:
        return ()
    parts = []
    for index, each in enumerate(_list(fields, name)):
        try:
            parts.append(read(as_object(each)))
        except WrongField as wrong:
            raise wrong.within(f"{name}[{index}]") from None
    return tuple(parts)


def echoed(
    fields: Fields, name: str, sent: Sequence[Sent], reads: Sequence[Callable[[Fields], T]]
) -> tuple[T, ...]:
    """A list of one object per part that was sent, in that order and under the ids that were sent.

    Each is read by the function in `reads` that has its index.
    """
    came = _list(fields, name)
    if len(came) != len(sent):
        raise WrongField(name, f"has {len(came)} items, but {len(sent)} were expected")
    parts = []
    for index, (each, part, read) in enumerate(zip(came, sent, reads, strict=True)):
        try:
            parts.append(read(_under(part.id, as_object(each))))
        except WrongField as wrong:
            raise wrong.within(f"{name}[{index}] (id {shown(part.id)})") from None
    return tuple(parts)


def _under(expected: str, fields: Fields) -> Fields:
    """An object with this id."""
    if (came := text(fields, "id")) != expected:
        raise WrongField("id", f"is {shown(came)}, but {shown(expected)} was sent at this index")
    return fields


def _field(fields: Fields, name: str) -> Any:
    if name not in fields:
        raise WrongField(name, "is missing")
    return fields[name]


def _list(fields: Fields, name: str) -> list[Any]:
    value = _field(fields, name)
    if not isinstance(value, list):
        _refuse(name, value, "a list")
    return value


def _text(path: str, value: object) -> str:
    if not isinstance(value, str):
        _refuse(path, value, "a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse(path, value, "whole: a character is half of a surrogate pair")
    return value


def _refuse(path: str, value: object, expected: str) -> NoReturn:
    raise WrongField(path, f"is {shown(value)}, not {expected}")
