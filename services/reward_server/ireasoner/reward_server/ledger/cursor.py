"""Cursors: where a page of groups ended, as text that only goes on with the query that it came from."""

import base64
import binascii
import hashlib
from typing import Annotated, NamedTuple

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ireasoner.reward_server.errors import MalformedRequest

_CHECK_BYTES = 12
_Row = Annotated[int, Field(ge=0, lt=2**63)]
_POSITION: TypeAdapter[tuple[float, int, int]] = TypeAdapter(
    tuple[Annotated[float, Field(allow_inf_nan=False)], _Row, _Row], config=ConfigDict(strict=True)
)


class Position(NamedTuple):
    """A group's place in a sorted list: the value that it is sorted by, its ledger and its row."""

    value: float
    ledger: int
    row: int


def written(position: Position, query: str) -> str:
    """The cursor behind `position` in the list of `query`."""
    payload = orjson.dumps(list(position))
    return base64.urlsafe_b64encode(_check(payload, query) + payload).rstrip(b"=").decode()


def read(cursor: str, query: str) -> Position:
    """The position that a cursor of this query names; raises MalformedRequest for any other text."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise _forged() from None
    check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(payload, query):
        raise _forged()
    try:
        return Position(*_POSITION.validate_json(payload))
    except ValidationError:  # the check is no secret
        raise _forged() from None


def _check(payload: bytes, query: str) -> bytes:
    return hashlib.sha256(query.encode() + b"\0" + payload).digest()[:_CHECK_BYTES]


def _forged() -> MalformedRequest:
    reason = "not a cursor of this query; repeat the query's own parameters, with `next` of its last page"
    return MalformedRequest.at("cursor", reason)
