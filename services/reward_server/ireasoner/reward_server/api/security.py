"""What the OpenAPI document says about tokens."""

from typing import Any

from ireasoner.reward_server.api.admission import TOKEN_IN_URL, open_routes
from ireasoner.reward_server.settings import RewardServerSettings

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the experiment. The server needs one if it runs with `--tokens-file`.",
    },
    "token_in_url": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "The same token, for frameworks that cannot send a header.",
    },
}


def add_to(document: dict[str, Any], settings: RewardServerSettings) -> None:
    """Writes into an OpenAPI document which operations need a token; without a tokens file, all may have one."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        if path in open_routes(settings):
            continue
        ways: list[dict[str, list[str]]] = [{"bearer": []}]
        if path.startswith(TOKEN_IN_URL):
            ways.append({"token_in_url": []})
        if settings.tokens_file is None:
            ways.append({})
        for operation in operations.values():
            operation["security"] = ways
