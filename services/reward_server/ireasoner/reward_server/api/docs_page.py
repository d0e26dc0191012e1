"""What the API's documentation says, from the OpenAPI document, and docs/api.md, which says it in Markdown."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ireasoner.reward_server.api import explorer_routes
from ireasoner.reward_server.api.admission import METRICS_ROUTE, OPEN_ROUTES
from ireasoner.reward_server.errors import answered_errors

Json = Mapping[str, Any]
Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]

DEFAULT_URL = "http://127.0.0.1:8010"
_WIDTH = 128
"""Characters within which the JSON of an example stays on one line."""
EXAMPLES = "The examples are requests to a server with the default embedder and their responses; numbers are rounded."
ERRORS = (
    "Every error is a [Problem] (RFC 9457, `application/problem+json`) with a stable `code`. `retryable` says whether "
    "the same request can succeed later; a response with the header `Retry-After` says when."
)
_OPEN = ", ".join(
    f"`{route}`" for route in sorted(OPEN_ROUTES) if not route.startswith(f"{explorer_routes.PAGE_ROUTE}/")
)
TOKENS = (
    f"A server with `--tokens-file` needs the header `authorization: Bearer TOKEN`, except for {_OPEN} and the files "
    f"of the explorer's page; with `--open-metrics` also except for `{METRICS_ROUTE}`."
)


def as_markdown(document: Json) -> str:
    """The page in Markdown; links are written as `[Name]` first."""
    info = document["info"]
    lines = [f"# {info['title']}: the API, version {info['version']}", "", info["description"], ""]
    lines += [
        TOKENS,
        "",
        f"{EXAMPLES} This page is written from [openapi.json](openapi.json) by "
        "`python -m scripts.server_docs`; do not edit it.",
        "",
    ]
    for method, path, operation in operations(document):
        lines += [f"## {method} {path}", "", operation["description"], ""]
        lines += _markdown_table(parameters(operation))
        lines += [_markdown_links(exchange(operation)), ""]
        lines += ["```bash", request(method, path, operation), "```", ""]
        language, shown = response(operation)
        lines += [f"```{language}", shown, "```", ""]
    lines += ["## Errors", "", _markdown_links(ERRORS), "", *_markdown_table(errors())]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"## {name}", "", " ".join(description(schema).split()), ""]
        lines += _markdown_table(fields(schema))
    return "\n".join(lines).rstrip() + "\n"


def request(method: str, path: str, operation: Json, server: str = DEFAULT_URL, token: str = "") -> str:
    """The example request of an operation, as a curl command; with the header that carries `token` if that is given."""
    query = {}
    for parameter in operation.get("parameters", ()):
        if "example" in parameter and parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif "example" in parameter:
            query[parameter["name"]] = parameter["example"]
    url = shlex.quote(server + path + (f"?{urlencode(query)}" if query else ""))
    if "application/octet-stream" in operation.get("requestBody", {}).get("content", {}):
        return " ".join(["curl", "-T", "image.png", url, *_authorization(token)])
    body = _content(operation.get("requestBody", {})).get("example")
    words = ["curl"]
    if method != ("GET" if body is None else "POST"):
        words += ["-X", method]
    words.append(url)
    words += _authorization(token)
    if body is not None:
        words += ["-H", "'content-type: application/json'", "-d", shlex.quote(_pretty(body))]
    return " ".join(words)


def _authorization(token: str) -> list[str]:
    """The words of a curl command that carry a token, if one is given."""
    return ["-H", f'"authorization: Bearer {token}"'] if token else []


def response(operation: Json) -> tuple[str, str]:
    """The example response of an operation: its language and its text."""
    shown = _content(operation["responses"]["200"])["example"]
    return ("text", shown.rstrip()) if isinstance(shown, str) else ("json", _pretty(shown))


def _pretty(value: Any, indent: str = "") -> str:
    """JSON in which whatever fits is on one line."""
    line = json.dumps(value)
    if len(indent) + len(line) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_pretty(part, inner)}" for name, part in value.items()]
    else:
        parts = [_pretty(part, inner) for part in value]
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    return f"{opened}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closed}"


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def exchange(operation: Json) -> str:
    """What an operation takes, returns and fails with, in one line."""
    said = []
    if body := _content(operation.get("requestBody", {})).get("schema"):
        said.append(f"Request: {_kind(body)}.")
    codes: list[str] = []
    for status, answer in operation["responses"].items():
        if _is_problem(answer):
            codes += re.findall(r"`(\w+)`", answer["description"])
        else:
            schema = _content(answer).get("schema", {})
            kind = "text" if schema.get("type") == "string" else _kind(schema)
            said.append(f"Response: {kind}." if status == "200" else f"Response {status}: {kind}.")
    if codes:
        said.append(f"[Errors]: {', '.join(f'`{code}`' for code in codes)}.")
    return " ".join(said)


def _is_problem(answer: Json) -> bool:
    return "application/problem+json" in answer.get("content", {})


def errors() -> Table:
    rows = [
        (str(kind.status), f"`{kind.code}`", (kind.__doc__ or "").strip(), "yes" if kind.retryable else "no")
        for kind in answered_errors()
    ]
    return ("status", "code", "meaning", "retry"), rows


def parameters(operation: Json) -> Table:
    rows = [
        (f"`{each['name']}` ({each['in']})", _kind(each["schema"]), _meaning(each["schema"] | each))
        for each in operation.get("parameters", ())
    ]
    return ("parameter", "type", "meaning"), rows


def fields(schema: Json) -> Table:
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        mark = "" if name in required else ", optional"
        rows.append((f"`{name}`", _kind(field) + mark, _meaning(field)))
    return ("field", "type", "meaning"), rows


def description(schema: Json) -> str:
    """What a schema is for; an empty schema accepts any value and has no description."""
    return str(schema.get("description", "")) if schema else "Any JSON value."


def _content(holder: Json) -> Json:
    """The content of a body, whatever its media type."""
    found: Json = next(iter(holder.get("content", {}).values()), {})
    return found


def _kind(schema: Json) -> str:
    """A schema's type in a few words; names of other schemas are in brackets."""
    if "$ref" in schema:
        return f"[{schema['$ref'].rpartition('/')[2]}]"
    if several := schema.get("anyOf"):
        return " or ".join(_kind(each) for each in several)
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("type", "anything" if schema == {} else "object"))


def _meaning(field: Json) -> str:
    """A field's description, bounds and default."""
    kinds = [field, *field.get("anyOf", ())]
    names = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "over",
        "exclusiveMaximum": "under",
        "minItems": "items at least",
        "minLength": "characters at least",
        "maxLength": "characters at most",
    }
    said = [str(field.get("description", "")).replace("\n", " ")]
    bounds = [f"{text} {kind[name]:g}" for kind in kinds for name, text in names.items() if name in kind]
    if bounds:
        said.append(f"({', '.join(bounds)})")
    if "default" in field:
        said.append(f"Default: `{json.dumps(field['default'])}`.")
    return " ".join(part for part in said if part)


def _markdown_table(table: Table) -> list[str]:
    head, rows = table
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return [*lines, *(f"| {' | '.join(map(_markdown_cell, row))} |" for row in rows), ""]


def _markdown_cell(text: str) -> str:
    return _markdown_links(text.replace("|", "\\|"))


LINK = re.compile(r"\[([A-Z]\w*)\](?!\()")


def _markdown_links(text: str) -> str:
    """`[Name]` as a link to the heading of that name; other brackets stay."""
    return LINK.sub(lambda found: f"[{found[1]}](#{found[1].lower()})", text)
