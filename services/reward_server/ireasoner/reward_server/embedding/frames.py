"""How the server and its embedding worker talk over a pipe: a JSON header, then raw numbers.

A frame is two little-endian 32-bit lengths, the header and the payload. No object is ever pickled.
"""

import json
import struct
from typing import Any, BinaryIO

Header = dict[str, Any]
LENGTHS = struct.Struct("<II")


def pack(header: Header, payload: bytes = b"") -> bytes:
    """One frame."""
    encoded = json.dumps(header, separators=(",", ":")).encode()
    return LENGTHS.pack(len(encoded), len(payload)) + encoded + payload


def read(stream: BinaryIO) -> tuple[Header, bytes]:
    """The next frame; raises EOFError if the other side has closed the pipe."""
    header_bytes, payload_bytes = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    return parse_header(_exactly(stream, header_bytes)), _exactly(stream, payload_bytes)


def parse_header(encoded: bytes) -> Header:
    """The header of a frame."""
    header: Header = json.loads(encoded)
    return header


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
