"""The address of a server as a setting."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_EXAMPLE = "write it like http://127.0.0.1:8020"


def server_url(text: str) -> str:
    """The address of a server, without a final slash.

    Raises:
        ValueError: It has no scheme or host, another scheme than http and https, or a part that the client adds.
    """
    url = text.strip().rstrip("/")
    if not url:
        raise ValueError(f"an address is empty; {_EXAMPLE}")
    if "://" not in url and not url.startswith("http"):
        raise ValueError(f"{url!r} has no scheme: write http://{url}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not an address: {error}; {_EXAMPLE}") from error
    if parts.scheme not in ("http", "https", ""):
        raise ValueError(f"{url!r} has the scheme {parts.scheme!r}: servers speak http or https")
    if "://" not in url or not parts.hostname or any(sign.isspace() for sign in url):
        raise ValueError(f"{url!r} has no host; {_EXAMPLE}")
    if port == 0:
        raise ValueError(f"{url!r} has port 0, which no server listens on")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} has a query or a fragment; {_EXAMPLE}")
    before, found, _ = f"{url}/".partition("/v1/")
    if found:
        raise ValueError(f"{url!r} ends in /v1, which the client adds: write {before}")
    return url


def server_urls(text: str) -> str:
    """One address or several, separated by commas, as `server_url` reads each.

    Raises:
        ValueError: One is wrong, or is given twice.
    """
    urls = [server_url(part) for part in text.split(",")]
    twice = next((url for url in urls if urls.count(url) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is given twice")
    return ",".join(urls)


ServerUrl = Annotated[str, AfterValidator(server_url)]
ServerUrls = Annotated[str, AfterValidator(server_urls)]
