"""Which addresses of servers are taken."""

import pytest

from ireasoner.trainer.server_url import server_url, server_urls


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8020", "http://127.0.0.1:8020"),
        ("http://127.0.0.1:8020/", "http://127.0.0.1:8020"),
        (" https://host/ ", "https://host"),
        ("http://[::1]:8020", "http://[::1]:8020"),
        ("http://user:secret@host:1/prefix/", "http://user:secret@host:1/prefix"),
        ("http://v1.example", "http://v1.example"),
        ("HTTP://host", "HTTP://host"),
    ],
)
def test_an_address_is_taken_without_its_final_slash(given: str, url: str) -> None:
    assert server_url(given) == url


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("localhost:8000", "has no scheme: write http://localhost:8000"),
        ("127.0.0.1", "has no scheme: write http://127.0.0.1"),
        ("host:8000/v1", "has no scheme"),
        ("ftp://host", "has the scheme 'ftp'"),
        ("unix:///run/x.sock", "has the scheme 'unix'"),
        ("http//host", "has no host"),
        ("https:/host", "has no host"),
        ("http:host", "has no host"),
        ("http://", "has no host"),
        ("http://:8020", "has no host"),
        ("http://a b", "has no host"),
        ("http://host:99999", "is not an address: Port out of range"),
        ("http://host:port", "is not an address: Port could not be cast"),
        ("http://[::1", "is not an address"),
        ("http://host:0", "has port 0"),
        ("http://host/v1", "ends in /v1, which the client adds: write http://host"),
        ("http://host/v1/", "write http://host"),
        ("http://host:1/prefix/v1/chat/completions", "write http://host:1/prefix"),
        ("http://host?x=1", "has a query"),
        ("http://host#x", "has a query or a fragment"),
        ("", "an address is empty"),
        ("/", "an address is empty"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        server_url(given)
    assert message in str(raised.value)


def test_replicas_are_separated_by_commas() -> None:
    assert server_urls("http://a:1/, http://b:1") == "http://a:1,http://b:1"
    for given, message in (
        ("http://a,http://a/", "http://a is given twice"),
        ("http://a,", "an address is empty"),
        ("http://a,b:1", "'b:1' has no scheme"),
    ):
        with pytest.raises(ValueError, match=message):
            server_urls(given)
