"""The page `/docs`: the API's documentation in HTML.

It loads nothing: no fonts, no content network, and one script of its own, which writes the server's address into the
examples as the browser sees it. A proxy may have changed it.
"""

import base64
import hashlib
import html
import re

from ireasoner.reward_server.api.docs_page import (
    DEFAULT_URL,
    ERRORS,
    EXAMPLES,
    LINK,
    TOKENS,
    Json,
    Table,
    description,
    errors,
    exchange,
    fields,
    operations,
    parameters,
    request,
    response,
)

TOKEN = "$TOKEN"
"""What the examples show in place of a token: a variable of the shell."""
_ADDRESS = re.compile(r"https?://[\w.:/~%\[\]-]{1,500}", re.ASCII)
_STYLE = """
:root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --ink: #1d1f23; --muted: #646a73; --line: #e2e3e1;
  --blue: #2b66b1; }
@media (prefers-color-scheme: dark) {
  :root { --page: #131518; --card: #1b1e22; --ink: #e5e7ea; --muted: #989fa9; --line: #2e3238; --blue: #6fa8ee; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--page); }
h2 { margin-top: 3rem; overflow-wrap: anywhere; }
a { color: var(--blue); }
nav { columns: 20rem; }
nav a { display: block; text-decoration: none; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; width: 100%; overflow-wrap: anywhere; }
@media (max-width: 48rem) { table { display: block; overflow-x: auto; } td { min-width: 3rem; } }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.6rem 0.3rem 0; text-align: left; vertical-align: top; }
th, td:nth-child(2) { overflow-wrap: normal; }
th, figcaption { color: var(--muted); font-weight: normal; }
code, pre { font: 0.9em/1.5 ui-monospace, monospace; background: var(--card); border-radius: 3px; }
code { padding: 0.1rem 0.25rem; border: 1px solid var(--line); }
h2 code { border: 0; background: none; padding: 0; }
figure { margin: 0.5rem 0 1rem; }
pre { margin: 0.2rem 0; padding: 0.6rem; max-height: 26rem; overflow: auto; border: 1px solid var(--line); }
"""
_SCRIPT = r"""
const address = new URL(".", location.href).href.replace(/\/$/, "");
if (/^https?:[\w.:\/~%[\]-]+$/.test(address))
  for (const shown of document.querySelectorAll(".address")) shown.textContent = address;
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; img-src data:; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def as_html(document: Json, address: str) -> str:
    """The page, complete in one file; its examples go to `address`, such as `http://127.0.0.1:8010`."""
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<link rel=icon href=data:,><style>{_STYLE}</style>",
        f"<h1>{title}</h1>{_paragraphs(document['info']['description'])}{_paragraphs(TOKENS)}{_paragraphs(EXAMPLES)}",
        "<p>For programs: <a href=openapi.json>openapi.json</a> (OpenAPI 3.1).</p>",
        _contents(document),
    ]
    for method, path, operation in operations(document):
        parts += [f"<h2 id={operation['operationId']}><code>{method} {html.escape(path)}</code></h2>"]
        parts += [_paragraphs(operation["description"]), _table(parameters(operation))]
        parts += [_paragraphs(exchange(operation))]
        parts += [_figure("Request", _command(method, path, operation, address))]
        parts += [_figure("Response", html.escape(response(operation)[1]))]
    parts += ["<h2 id=Errors>Errors</h2>", _paragraphs(ERRORS), _table(errors())]
    for name, schema in document["components"]["schemas"].items():
        parts += [f"<h2 id={name}>{name}</h2>{_paragraphs(description(schema))}", _table(fields(schema))]
    return "\n".join([*parts, f"<script>{_SCRIPT}</script></html>"])


def _contents(document: Json) -> str:
    """Links to the endpoints."""
    links = [
        f"<a href='#{operation['operationId']}'><code>{method} {html.escape(path)}</code></a>"
        for method, path, operation in operations(document)
    ]
    return f"<nav>{''.join(links)}</nav>"


def _command(method: str, path: str, operation: Json, address: str) -> str:
    """The example request, in which a script can find the server's address."""
    server = address if _ADDRESS.fullmatch(address) else DEFAULT_URL
    token = "" if {} in operation.get("security", [{}]) else TOKEN
    escaped = html.escape(request(method, path, operation, server, token))
    return escaped.replace(server, f"<span class=address>{server}</span>", 1)


def _figure(caption: str, escaped: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption><pre>{escaped}</pre></figure>"


def _table(table: Table) -> str:
    head, rows = table
    if not rows:
        return ""
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(each)}</p>" for each in text.split("\n\n") if each.strip())


def _text(text: str) -> str:
    """Markdown's code marks and `[Name]` links in HTML; a mark without its partner stays."""
    parts = re.split(r"(`+)(.+?)\1", html.escape(text, quote=False), flags=re.DOTALL)
    said = []
    for index, part in enumerate(parts):
        if index % 3 == 0:
            said.append(LINK.sub(r"<a href='#\1'>\1</a>", part))
        elif index % 3 == 2:
            said.append(f"<code>{part.strip()}</code>")
    return "".join(said)
