"""A response that is no answer is an error: bodies, heads and statuses of a lying server, and each client."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ireasoner.clients import (
    BadAnswer,
    ConnectionBroken,
    RequestRefused,
    RewardError,
    ServerFailed,
    Unavailable,
)
from tests.clients.answers import GROUPS, SENT, right_answer
from tests.clients.lying_server import Call, LyingServer, refused, response

RIGHT = json.dumps(right_answer(SENT))
DEEP = 100_000

BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "blank": (b" \n", "is not JSON"),
    "null": (b"null", "is None, not an object"),
    "truncated": (RIGHT.encode()[:-1], "is not JSON"),
    "truncated early": (RIGHT.encode()[:40], r"is not JSON .*; it begins with b'{\"request_id"),
    "truncated in a string": (RIGHT.encode()[:15], "is not JSON"),
    "more after the end": (RIGHT.encode() + b"}", "is not JSON"),
    "two answers": (RIGHT.encode() * 2, "is not JSON"),
    "HTML": (b"<html><body>Sign in</body></html>", "begins with b'<html>"),
    "deep lists": (b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
    "deep lists, open": (b"[" * DEEP, "nested too deeply"),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested too deeply"),
    "deep in an unknown field": (
        b'{"new": ' + b"[" * DEEP + b"]" * DEEP + b", " + RIGHT.encode()[1:],
        "nested too deeply",
    ),
    "deep in a reward": (
        RIGHT.replace("0.625", "[" * DEEP + "]" * DEEP, 1).encode(),
        "nested too deeply",
    ),
    "a reward twice": (
        RIGHT.replace('"reward": 0.625', '"reward": 0.625, "reward": 0.5', 1).encode(),
        r"rollouts\[0\] \(id 'a'\) has a key twice",
    ),
    "the same reward twice": (
        RIGHT.replace('"reward": 0.625', '"reward": 0.625, "reward": 0.625', 1).encode(),
        "has a key twice",
    ),
    "the groups twice": (b'{"groups": [], ' + RIGHT.encode()[1:], "the whole has a key twice"),
    "an id twice": (RIGHT.replace('"id": "q2"', '"id": "q1", "id": "q2"').encode(), "has a key twice"),
    "a huge number": (RIGHT.replace("0.625", "1e999", 1).encode(), "reward is inf"),
    "a number of 5,000 digits": (RIGHT.replace("0.625", "1" * 5_000, 1).encode(), "is not JSON"),
    "a number with a plus": (RIGHT.replace("0.625", "+0.625", 1).encode(), "is not JSON"),
    "a comma too many": (RIGHT.replace("0.625,", "0.625,,", 1).encode(), "is not JSON"),
    "UTF-16": (RIGHT.encode("utf-16"), "is not UTF-8"),
    "UTF-32": (RIGHT.encode("utf-32-le"), "is not JSON"),
    "a byte-order mark": (RIGHT.encode("utf-8-sig"), "is not JSON"),
    "Latin-1": (RIGHT.replace('"7"', '"\u00fc"').encode("latin-1"), "is not UTF-8"),
    "a surrogate as bytes": (
        RIGHT.replace('"7"', '"\ud800"').encode("utf-8", "surrogatepass"),
        "is not UTF-8",
    ),
    "a line break in a string": (RIGHT.replace('"7"', '"7\n"').encode(), "is not JSON"),
    "zero bytes": (bytes(1_000), "is not JSON"),
}


@pytest.mark.parametrize(("body", "shown"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_answer_is_refused(call: Call, liar: LyingServer, body: bytes, shown: str) -> None:
    liar.reply = lambda *_: [response(body)]
    assert re.search(shown, refused(call, liar))


def endless(*_: Any) -> Iterator[bytes]:
    """A right answer in chunks that goes on with blanks for ever."""
    yield response(b"", content_length=None, transfer_encoding="chunked")
    body = RIGHT.encode()
    yield b"%x\r\n%s\r\n" % (len(body), body)
    while True:
        yield b"10000\r\n%s\r\n" % (b" " * 0x10000)


def no_length(*_: Any) -> Iterator[bytes]:
    """The same up to the end of the connection, which never comes."""
    yield response(RIGHT.encode(), content_length=None)
    while True:
        yield b" " * 0x10000


RESPONSES: dict[str, tuple[Any, type[RewardError], str]] = {
    **{
        kind: ([response(RIGHT.encode(), content_type=kind)], BadAnswer, "not 'application/json'")
        for kind in (
            "text/html",
            "text/plain; charset=utf-8",
            "application/octet-stream",
            "json",
            "a" * 9_000,
        )
    },
    "a problem as 200": (
        [response(RIGHT.encode(), content_type="application/problem+json")],
        BadAnswer,
        "not 'application/json'",
    ),
    "HTML as 200": (
        [response(b"<html>Sign in", content_type="text/html")],
        BadAnswer,
        "begins with b'<html>Sign in'",
    ),
    **{
        status: ([response(RIGHT.encode(), status=status)], BadAnswer, f"the status is {status[:3]}, not 200")
        for status in ("201 Created", "202 Accepted", "206 Partial Content", "226 IM Used", "299 Fine")
    },
    "204 No Content": (
        [response(b"", "204 No Content", content_length=None)],
        BadAnswer,
        "the status is 204",
    ),
    **{
        status: (
            [response(RIGHT.encode(), status=status, location="http://127.0.0.1:9/")],
            BadAnswer,
            f"the status is {status[:3]}",
        )
        for status in ("301 Moved Permanently", "302 Found", "307 Temporary Redirect", "300 Multiple Choices")
    },
    "304 Not Modified": ([response(b"", "304 Not Modified")], BadAnswer, "the status is 304"),
    **{
        f"encoding {encoding}": (
            [response(RIGHT.encode(), content_encoding=encoding)],
            BadAnswer,
            f"the answer is encoded as '{encoding}'",
        )
        for encoding in ("gzip", "br", "zstd", "gzip, gzip", "")
    },
    "gzip": (
        [response(gzip.compress(RIGHT.encode()), content_encoding="gzip")],
        BadAnswer,
        "encoded as 'gzip'",
    ),
    **{
        f"version {version!r}": (
            [response(RIGHT.encode(), x_wire_version=version)],
            BadAnswer,
            f"speaks version '{version}' of the wire, this client 2",
        )
        for version in ("1.0.0", "3.0.0", "22.0.0", "", "two", "v2.0.0")
    },
    "endless chunks": (endless, BadAnswer, "too long for this request"),
    "endless": (no_length, BadAnswer, "too long for this request"),
    "huge": ([response(RIGHT.encode() + b" " * 2**21)], BadAnswer, "too long for this request"),
    "huge error": ([response(b" " * 2**21, "503 Service Unavailable")], BadAnswer, "too long"),
    "cut off": ([response(RIGHT.encode(), content_length="99999")], ConnectionBroken, ""),
    "cut off in a chunk": (
        [response(b"", content_length=None, transfer_encoding="chunked") + b"99\r\n" + RIGHT.encode()[:9]],
        ConnectionBroken,
        "",
    ),
    "cut off in the head": ([b"HTTP/1.1 200 OK\r\ncontent-ty"], ConnectionBroken, ""),
    "nothing": ([], ConnectionBroken, ""),
    "not HTTP": ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], ConnectionBroken, ""),
    "a huge head": ([b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100_000], ConnectionBroken, ""),
    "two lengths": ([response(RIGHT.encode(), Content_Length="1")], ConnectionBroken, ""),
    "a malformed length": ([response(RIGHT.encode(), content_length="-1")], ConnectionBroken, ""),
}


@pytest.mark.parametrize(
    ("reply", "error", "shown"), RESPONSES.values(), ids=[name[:30] for name in RESPONSES]
)
def test_a_response_that_is_no_answer_is_refused(
    call: Call, liar: LyingServer, reply: Any, error: type[RewardError], shown: str
) -> None:
    liar.reply = reply if callable(reply) else lambda *_: reply
    assert shown in refused(call, liar, error)


PROBLEMS: dict[str, tuple[bytes, type[RewardError], str]] = {
    "deep": (response(b"[" * DEEP, "422 No"), RequestRefused, "422 unknown: [[["),
    "a list": (response(b"[1]", "500 No"), ServerFailed, "500 unknown: [1]"),
    "code a list": (
        response(b'{"code": [[[[1]]]], "detail": {"a": 1}}', "400 No"),
        RequestRefused,
        "400 [[[...]]]: {'a': 1}",
    ),
    "a long detail": (
        response(b'{"code": "c", "detail": "%s"}' % (b"x" * 900_000), "503 No"),
        Unavailable,
        "503 c: xxx",
    ),
    "many faults": (
        response(json.dumps({"errors": [{"place": "p" * 99, "reason": "r"}] * 5_000}).encode(), "422 No"),
        RequestRefused,
        "p: r",
    ),
    "faults of other types": (
        response(b'{"errors": [1, null, {"place": 7}, {"reason": ["a"]}]}', "422 No"),
        RequestRefused,
        "7: ",
    ),
    "faults a string": (response(b'{"errors": "all", "code": "c"}', "422 No"), RequestRefused, "422 c: "),
    **{
        f"retry after {delay!r}": (
            response(b"{}", "503 No", retry_after=delay),
            Unavailable,
            "503 unknown",
        )
        for delay in ("-1", "nan", "inf", "1e9", "9" * 400, "tomorrow", "")
    },
    "status 999": (response(RIGHT.encode(), "999 What"), ServerFailed, "999 unknown"),
    "Latin-1": (response(b"\xfc", "500 No"), ServerFailed, "500 unknown"),
}


@pytest.mark.parametrize(("reply", "error", "shown"), PROBLEMS.values(), ids=[name[:30] for name in PROBLEMS])
def test_an_error_response_is_an_error_whatever_is_in_it(
    call: Call, liar: LyingServer, reply: bytes, error: type[RewardError], shown: str
) -> None:
    liar.reply = lambda *_: [reply]
    with pytest.raises(error) as raised:
        call("score", "solver", GROUPS)
    assert shown in str(raised.value)
    assert len(str(raised.value)) < 20_000
