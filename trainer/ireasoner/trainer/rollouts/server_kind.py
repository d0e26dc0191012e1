"""Which server answers at an address."""

from typing import Any, Literal

import httpx

from ireasoner.trainer.errors import SettingsError

ServerKind = Literal["reward server", "rollout server", "neither"]

_TIMEOUT_S = 5.0
_SAYS_NOTHING = frozenset({401, 403, 407, 429})
"""Statuses of a gate in front of the server."""


def server_kind(url: str) -> ServerKind | None:
    """Which server answers at `url`; None if nothing does, or if the answer does not say."""
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as client:
            ready = client.get("/readyz")
            if "ready" in _document(ready):
                return "reward server"
            models = client.get("/v1/models")
    except httpx.HTTPError:
        return None
    if isinstance(_document(models).get("data"), list):
        return "rollout server"
    gated = any(answer.status_code in _SAYS_NOTHING or answer.is_server_error for answer in (ready, models))
    return None if gated else "neither"


def require_kind(setting: str, url: str, kind: ServerKind) -> None:
    """Refuses an address at which another server answers; one that does not answer yet passes.

    Args:
        setting: The setting that holds the address.
        url: The address.
        kind: The server that the setting is for.

    Raises:
        SettingsError: Another server answers there.
    """
    found = server_kind(url)
    if found == "neither":
        raise SettingsError(f"{setting}: {url} answers, but it is no {kind}")
    if found is not None and found != kind:
        raise SettingsError(f"{setting}: {url} is a {found}, not a {kind}: are the two addresses swapped?")


def _document(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; empty if it is none."""
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
