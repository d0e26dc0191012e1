"""The certificates that httpx trusts, read once per process of tests."""

import os
import ssl
from typing import Any

import httpx
from httpx._transports import default


def read_once() -> None:
    """Has the clients of httpx share one context where they would all make the same.

    By default each reads 140 certificates, in 40 ms of processor time, whether it speaks TLS or not: the tests make
    thousands of clients.
    """
    read = httpx.create_ssl_context
    shared: list[ssl.SSLContext] = []

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        elsewhere = trust_env and any(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
        if verify is not True or cert is not None or elsewhere:
            return read(verify, cert, trust_env)
        if not shared:
            shared.append(read())
        return shared[0]

    vars(default)["create_ssl_context"] = create_ssl_context
