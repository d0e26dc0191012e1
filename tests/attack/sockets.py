"""Attacks below HTTP, most of which need no token."""

import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import httpx


def connect(url: str, timeout_s: float = 60.0) -> socket.socket:
    """A connection to a server."""
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=timeout_s)


def status_of(connection: socket.socket) -> str:
    """The status of the next response, which is read as a whole; `closed` if there is none."""
    received = b""
    try:
        while b"\r\n\r\n" not in received and (part := connection.recv(2**16)):
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"\ncontent-length: (\d+)", head.lower())
        while length and len(body) < int(length[1]) and (part := connection.recv(2**16)):
            body += part
    except ConnectionError:
        return "closed"
    return received.split()[1].decode() if received else "closed"


def sends_until_closed(connection: socket.socket, part: bytes, deadline_s: float) -> bool:
    """Sends a part again and again; returns whether the server closed the connection before the deadline."""
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        try:
            connection.sendall(part)
        except ConnectionError:
            return True
        time.sleep(0.02)
    return False


def large_head(url: str, size: int) -> str:
    """A header of `size` bytes; the server answers, or breaks the connection, before it has all of them."""
    with connect(url) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\na: ")
            for _ in range(size // 2**16):
                connection.sendall(b"a" * 2**16)
        return status_of(connection)


def many_headers(url: str, count: int) -> str:
    """A head of many small headers."""
    with connect(url) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * count + b"\r\n")
        return status_of(connection)


def tiny_chunks(url: str, count: int, route: str = "/score/solver") -> str:
    """A body in chunks of one byte."""
    head = f"POST {route} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    with connect(url) as connection:
        with suppress(ConnectionError):
            connection.sendall(head.encode())
            for _ in range(count // 1024):
                connection.sendall(b"1\r\n \r\n" * 1024)
            connection.sendall(b"0\r\n\r\n")
        return status_of(connection)


def pipelined(url: str, count: int) -> str:
    """Many requests at once, of which no response is read until the end."""
    with connect(url) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" * count)
        return status_of(connection)


def idle(url: str, count: int, began: bytes) -> str:
    """Connections that begin a request and stop; returns how many the server has closed, when it has closed all."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(url)) for _ in range(count)]
        for each in connections:
            each.sendall(began)
        return str(sum(status_of(each) in ("closed", "408") for each in connections))


def flood(url: str, count: int, call: Callable[[httpx.Client], object]) -> str:
    """The same call many times, as fast as one caller can."""
    with httpx.Client(base_url=url, timeout=60) as http:
        began_s = time.monotonic()
        for _ in range(count):
            call(http)
    return f"{count / (time.monotonic() - began_s):.0f}/s"
