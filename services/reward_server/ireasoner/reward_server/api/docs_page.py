"""The OpenAPI document as a page for people: Markdown for the docs, HTML for `/docs`.

Both are written from the document alone, and fetch nothing: no scripts, no fonts, no content network.
"""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
code, pre { font-family: ui-monospace, monospace; background: #8882; border-radius: 3px; padding: 0 0.2rem; }
pre { padding: 0.6rem; overflow-x: auto; }
"""

_COMPLETION = "<think>Step 1: 2 + 4 = 6.</think><answer>6</answer>"
_FOREIGN_BODIES: dict[str, Json] = {
    "/cohort/openrlhf": {"query": [f"What is 2 + 4? {_COMPLETION}"], "prompts": ["What is 2 + 4? "]},
    "/cohort/remote": {"prompt": "What is 2 + 4?", "response": _COMPLETION},
    "/verify": {
        "responses_create_params": {"input": "What is 2 + 4?"},
        "response": {"output": [{"content": [{"text": _COMPLETION}]}]},
    },
}
"""A body in each foreign protocol: one rollout, of which a cohort of one is made."""


def as_markdown(document: Json) -> str:
    """The page in Markdown."""
    lines = [f"# {document['info']['title']}: the API, version {document['info']['version']}", ""]
    lines += [document["info"]["description"], ""]
    lines += [
        "Written from [openapi.json](openapi.json) by `python -m scripts.reward_server_docs`; do not edit.",
        "",
    ]
    for method, path, operation in _operations(document):
        lines += [f"## {method} {path}", "", operation["description"], ""]
        if parameters := operation.get("parameters"):
            rows = [(f"`{p['name']}` ({p['in']})", _kind(p["schema"]), _told(p)) for p in parameters]
            lines += [*_markdown_table(("parameter", "type", "meaning"), rows), ""]
        if body := _schema_of(operation.get("requestBody", {})):
            lines += [f"Body: {_markdown_kind(body)}", ""]
        rows = [(f"`{s}`", _link(_schema_of(r)), r["description"]) for s, r in operation["responses"].items()]
        lines += [*_markdown_table(("status", "body", "meaning"), rows), ""]
    for name, schema in _schemas(document):
        lines += [f"## {name}", "", _described(schema).replace("\n", " "), ""]
        if rows := list(_fields(schema)):
            lines += [*_markdown_table(("field", "type", "meaning"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def as_html(document: Json) -> str:
    """The page in HTML, whole in itself."""
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<link rel=icon href=data:,><style>{_STYLE}</style>"
    ]
    parts += [f"<h1>{title}</h1><p>{html.escape(document['info']['description'])}</p>"]
    parts += ["<p>For programs: <a href=openapi.json>openapi.json</a> (OpenAPI 3.1).</p>"]
    for method, path, operation in _operations(document):
        parts += [
            f"<h2><code>{method} {html.escape(path)}</code></h2><p>{html.escape(operation['description'])}</p>"
        ]
        if parameters := operation.get("parameters"):
            rows = [
                (
                    f"<code>{p['name']}</code> ({p['in']})",
                    html.escape(_kind(p["schema"])),
                    html.escape(_told(p)).replace("`", ""),
                )
                for p in parameters
            ]
            parts += [_html_table(("parameter", "type", "meaning"), rows)]
        if body := _schema_of(operation.get("requestBody", {})):
            parts += [f"<p>Body: {_html_link(_kind(body))}</p>", f"<pre>{html.escape(_example(path))}</pre>"]
        rows = [
            (s, _html_link(_kind(_schema_of(r))), html.escape(r["description"]))
            for s, r in operation["responses"].items()
        ]
        parts += [_html_table(("status", "body", "meaning"), rows)]
    for name, schema in _schemas(document):
        parts += [f"<h2 id={name}>{name}</h2><p>{html.escape(_described(schema))}</p>"]
        rows = [
            (f"<code>{f}</code>", _html_link(kind), html.escape(told).replace("`", ""))
            for f, kind, told in ((field.strip("`"), k, t) for field, k, t in _fields(schema))
        ]
        parts += [_html_table(("field", "type", "meaning"), rows)]
    return "\n".join(parts) + "</html>"


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _schemas(document: Json) -> Iterator[tuple[str, Json]]:
    yield from document["components"]["schemas"].items()


def _described(schema: Json) -> str:
    """What a schema is for; an empty one, to which everything conforms, has no description of its own."""
    return str(schema.get("description", "")) if schema else "Any JSON value."


def _schema_of(holder: Json) -> Json:
    """The schema of a body, whatever its media type."""
    for content in holder.get("content", {}).values():
        schema: Json = content.get("schema", {})
        return schema
    return {}


def _fields(schema: Json) -> Iterator[tuple[str, str, str]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        mark = "" if name in required else ", optional"
        yield f"`{name}`", _kind(field) + mark, _told(field)


def _kind(schema: Json) -> str:
    """A schema's type in a few words; names of other schemas stand in brackets."""
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


def _told(field: Json) -> str:
    """What a field's description, bounds and default say."""
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


def _example(path: str) -> str:
    """A request that the page shows: it registers a config, or scores a group in the page's own protocol."""
    if path.startswith("/configs/"):
        config = json.dumps({"preset": "paper", "alpha": 0.5})
        url = f"http://127.0.0.1:8010{path.replace('{name}', 'mine')}"
        return f"curl -X PUT -H 'content-type: application/json' \\\n  -d '{config}' \\\n  {url}"
    if path in _FOREIGN_BODIES:
        body = _FOREIGN_BODIES[path]
        url = f"'http://127.0.0.1:8010{path}?group_size=1'"
        return f"curl -H 'content-type: application/json' \\\n  -d '{json.dumps(body)}' \\\n  {url}"
    body = {
        "groups": [
            {
                "id": "g",
                "rollouts": [
                    {"id": "0", "text": _COMPLETION},
                    {"id": "1", "answer": "6", "steps": ["Adding 2 and 4 gives 6."]},
                ],
            }
        ]
    }
    return f"curl -H 'content-type: application/json' \\\n  -d '{json.dumps(body)}' \\\n  http://127.0.0.1:8010{path}"


def _markdown_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return lines + [
        f"| {' | '.join(_markdown_links(cell.replace('|', chr(92) + '|')) for cell in row)} |" for row in rows
    ]


def _markdown_links(cell: str) -> str:
    """`[Name]` as a link to the heading of that name; other brackets are left alone."""
    parts = cell.split("[")
    for index, part in enumerate(parts[1:], start=1):
        name, closed, rest = part.partition("]")
        is_name = closed and name.isidentifier() and name[0].isupper()
        parts[index] = f"[{name}](#{name.lower()}){rest}" if is_name else f"[{part}"
    return "".join(parts)


def _markdown_kind(schema: Json) -> str:
    return _markdown_links(_kind(schema))


def _link(schema: Json) -> str:
    return _kind(schema) if schema else ""


def _html_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = ["".join(f"<th>{name}</th>" for name in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _html_link(kind: str) -> str:
    linked = html.escape(kind)
    for name in kind.split("[")[1:]:
        name = name.partition("]")[0]
        linked = linked.replace(f"[{name}]", f"<a href='#{name}'>{name}</a>")
    return linked
