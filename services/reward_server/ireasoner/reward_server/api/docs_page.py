"""The API's documentation, written from the OpenAPI document: Markdown for docs/api.md, HTML for `/docs`.

The HTML loads nothing: no scripts, no fonts, no content network.
"""

import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ireasoner.reward_server.errors import answered_errors

Json = Mapping[str, Any]
Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]

_URL = "http://127.0.0.1:8010"
_WIDTH = 128
"""Characters within which the JSON of an example stays on one line."""
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
code, pre { font-family: ui-monospace, monospace; background: #8882; border-radius: 3px; padding: 0 0.2rem; }
pre { padding: 0.6rem; overflow-x: auto; }
"""
_EXAMPLES = "The examples are requests to a server with the default embedder and their responses; numbers are rounded."
_ERRORS = (
    "Every error is a [Problem] (RFC 9457, `application/problem+json`) with a stable `code`. `retryable` says whether "
    "the same request can succeed later; a response with the header `Retry-After` says when."
)


def as_markdown(document: Json) -> str:
    """The page in Markdown; links are written as `[Name]` first."""
    info = document["info"]
    lines = [f"# {info['title']}: the API, version {info['version']}", "", info["description"], ""]
    lines += [
        f"{_EXAMPLES} This page is written from [openapi.json](openapi.json) by "
        "`python -m scripts.reward_server_docs`; do not edit it.",
        "",
    ]
    for method, path, operation in _operations(document):
        lines += [f"## {method} {path}", "", operation["description"], ""]
        lines += _markdown_table(_parameters(operation))
        lines += [_markdown_links(_exchange(operation)), ""]
        lines += ["```bash", request(method, path, operation), "```", ""]
        language, shown = response(operation)
        lines += [f"```{language}", shown, "```", ""]
    lines += ["## Errors", "", _markdown_links(_ERRORS), "", *_markdown_table(_errors())]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"## {name}", "", " ".join(_description(schema).split()), ""]
        lines += _markdown_table(_fields(schema))
    return "\n".join(lines).rstrip() + "\n"


def as_html(document: Json) -> str:
    """The page in HTML, complete in one file."""
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<link rel=icon href=data:,><style>{_STYLE}</style>",
        f"<h1>{title}</h1><p>{html.escape(document['info']['description'])} {_EXAMPLES}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a> (OpenAPI 3.1).</p>",
    ]
    for method, path, operation in _operations(document):
        parts += [f"<h2><code>{method} {html.escape(path)}</code></h2>"]
        parts += [f"<p>{_html_text(operation['description'])}</p>", _html_table(_parameters(operation))]
        parts += [f"<p>{_html_text(_exchange(operation))}</p>"]
        parts += [f"<pre>{html.escape(request(method, path, operation))}</pre>"]
        parts += [f"<pre>{html.escape(response(operation)[1])}</pre>"]
    parts += ["<h2 id=Errors>Errors</h2>", f"<p>{_html_text(_ERRORS)}</p>", _html_table(_errors())]
    for name, schema in document["components"]["schemas"].items():
        parts += [f"<h2 id={name}>{name}</h2><p>{_html_text(_description(schema))}</p>"]
        parts += [_html_table(_fields(schema))]
    return "\n".join(parts) + "</html>"


def request(method: str, path: str, operation: Json) -> str:
    """The example request of an operation, as a curl command."""
    query = {}
    for parameter in operation.get("parameters", ()):
        if "example" in parameter and parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif "example" in parameter:
            query[parameter["name"]] = parameter["example"]
    url = shlex.quote(_URL + path + (f"?{urlencode(query)}" if query else ""))
    if "application/octet-stream" in operation.get("requestBody", {}).get("content", {}):
        return f"curl -T image.png {url}"
    body = _content(operation.get("requestBody", {})).get("example")
    if body is None:
        return f"curl {url}"
    verb = "" if method == "POST" else f"-X {method} "
    return f"curl {verb}{url} -H 'content-type: application/json' -d {shlex.quote(_pretty(body))}"


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


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _exchange(operation: Json) -> str:
    """What an operation takes, returns and fails with, in one line."""
    said = []
    if body := _content(operation.get("requestBody", {})).get("schema"):
        said.append(f"Request: {_kind(body)}.")
    errors: list[str] = []
    for status, answer in operation["responses"].items():
        if _is_problem(answer):
            errors += re.findall(r"`(\w+)`", answer["description"])
        else:
            schema = _content(answer).get("schema", {})
            kind = "text" if schema.get("type") == "string" else _kind(schema)
            said.append(f"Response: {kind}." if status == "200" else f"Response {status}: {kind}.")
    if errors:
        said.append(f"[Errors]: {', '.join(f'`{code}`' for code in errors)}.")
    return " ".join(said)


def _is_problem(answer: Json) -> bool:
    return "application/problem+json" in answer.get("content", {})


def _errors() -> Table:
    rows = [
        (str(kind.status), f"`{kind.code}`", (kind.__doc__ or "").strip(), "yes" if kind.retryable else "no")
        for kind in answered_errors()
    ]
    return ("status", "code", "meaning", "retry"), rows


def _parameters(operation: Json) -> Table:
    rows = [
        (f"`{each['name']}` ({each['in']})", _kind(each["schema"]), _meaning(each["schema"] | each))
        for each in operation.get("parameters", ())
    ]
    return ("parameter", "type", "meaning"), rows


def _fields(schema: Json) -> Table:
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        mark = "" if name in required else ", optional"
        rows.append((f"`{name}`", _kind(field) + mark, _meaning(field)))
    return ("field", "type", "meaning"), rows


def _description(schema: Json) -> str:
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


_LINK = re.compile(r"\[([A-Z]\w*)\](?!\()")


def _markdown_links(text: str) -> str:
    """`[Name]` as a link to the heading of that name; other brackets stay."""
    return _LINK.sub(lambda found: f"[{found[1]}](#{found[1].lower()})", text)


def _html_table(table: Table) -> str:
    head, rows = table
    if not rows:
        return ""
    body = "".join(f"<tr>{''.join(f'<td>{_html_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"


def _html_text(text: str) -> str:
    """Markdown's code marks and `[Name]` links in HTML."""
    linked = _LINK.sub(r"<a href='#\1'>\1</a>", html.escape(text, quote=False))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", linked)
