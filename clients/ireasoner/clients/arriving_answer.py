"""A response while it arrives: what is refused before it is whole, and its body once it is."""

import httpx

from ireasoner.clients.errors import BadAnswer
from ireasoner.clients.response import decode_problem
from ireasoner.clients.wire import MAJOR_VERSION

_LEAST_BYTES = 2**20
_BYTES_PER_SENT_BYTE = 128
"""A response repeats ids, answers and steps, with numbers for each; the most verbose real ones stay under a half."""


class ArrivingAnswer:
    """The body of a response to `sent_bytes` from the address `url`.

    Raises:
        BadAnswer: The response has more bytes than any answer to such a request, or is compressed.
    """

    def __init__(self, url: str, response: httpx.Response, sent_bytes: int) -> None:
        self._url = url
        self._response = response
        self._max_bytes = _LEAST_BYTES + _BYTES_PER_SENT_BYTE * sent_bytes
        self._body = bytearray()
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise BadAnswer(f"{url}: the answer is encoded as {encoding[:100]!r}, which was not accepted")

    def add(self, part: bytes) -> None:
        """Takes the next part of the body."""
        self._body += part
        if len(self._body) > self._max_bytes:
            raise BadAnswer(
                f"{self._url}: the answer is longer than {self._max_bytes} bytes, too long for this request"
            )

    def accept(self) -> None:
        """Accepts any status of success, whatever the body is; raises the error for any other response."""
        status = self._response.status_code
        if status >= httpx.codes.BAD_REQUEST:
            raise decode_problem(status, self._response.headers, bytes(self._body))
        if not self._response.is_success:
            raise BadAnswer(f"{self._url}: the status is {status}; it is not a reward server's")

    def body(self) -> bytes:
        """The body of a 200 that is JSON of this version of the wire; raises the error for any other response."""
        self.accept()
        status, headers, body = self._response.status_code, self._response.headers, bytes(self._body)
        if status != httpx.codes.OK:
            raise BadAnswer(f"{self._url}: the status is {status}, not 200; it is not a reward server's")
        kind = headers.get("content-type", "application/json")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise BadAnswer(
                f"{self._url}: the answer is {kind[:100]!r}, not 'application/json'; it begins with {body[:80]!r}"
            )
        version = headers.get("x-wire-version", MAJOR_VERSION)
        if version.partition(".")[0] != MAJOR_VERSION:
            raise BadAnswer(
                f"{self._url}: the server speaks version {version[:100]!r} of the wire, this client {MAJOR_VERSION}"
            )
        return body
