"""The explorer's files: how they are served, and that no text in them can become markup."""

import re
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server import explorer
from ireasoner.reward_server.explorer.static_files import PAGE, static_files
from ireasoner.reward_server.ledger import search
from ireasoner.reward_server.ledger.group_change import MIN_CHANGE
from ireasoner.reward_server.ledger.schema import UNKNOWN

FOLDER = Path(explorer.__file__).parent / "static"
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js")}
STYLES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.css")}
HTML = (FOLDER / PAGE).read_text(encoding="utf-8")
MARKUP_SINKS = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "setHTMLUnsafe",
    "document.write",
    "DOMParser",
    "createContextualFragment",
    "srcdoc",
    "eval(",
    "new Function",
    "javascript:",
)
"""Ways for a text to become markup or code."""
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_script_turns_text_into_markup(name: str) -> None:
    assert [sink for sink in MARKUP_SINKS if sink in SCRIPTS[name]] == []
    assert not re.search(r"""setAttribute\(\s*["'](?:style|on\w+)["']""", SCRIPTS[name])
    assert not re.search(r"""\bset(?:Timeout|Interval)\(\s*["'`]""", SCRIPTS[name])


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_pattern_looks_back_without_bound(name: str) -> None:
    """A lookbehind is tried at each character, so one of any length is quadratic."""
    for found in re.finditer(r"\(\?<[=!]", SCRIPTS[name]):
        assert not re.search(r"[*+]|\{\d+,\}", _group(SCRIPTS[name][found.start() :])), found.start()


def _group(pattern: str) -> str:
    """The group that a pattern starts with, to its closing parenthesis."""
    depth = 0
    for parenthesis in re.finditer(r"[()]", pattern):
        depth += 1 if parenthesis.group() == "(" else -1
        if depth == 0:
            return pattern[: parenthesis.end()]
    raise AssertionError(f"not closed: {pattern[:80]}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("comparison_figures.js", f"MIN_CHANGE = {MIN_CHANGE:.0e};".replace("e-0", "e-")),
        ("filters.js", f"MAX_SEARCH_CHARACTERS = {search.MAX_CHARACTERS};"),
        ("groups.js", f"the newest {search.WINDOW:,} groups"),
        ("scoring.js", f'UNKNOWN = "{UNKNOWN}";'),
    ],
)
def test_a_limit_of_the_page_is_that_of_the_server(name: str, text: str) -> None:
    assert text in SCRIPTS[name]


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_imports_files_of_the_page_alone(name: str) -> None:
    imported = re.findall(r'\bimport (?:[^;(]* from )?"([^"]+)";', SCRIPTS[name])
    imported += re.findall(r'\bimport\("([^"]+)"\)', SCRIPTS[name])
    assert len(imported) == len(re.findall(r"\bimport\b", SCRIPTS[name])), "each names its file"
    assert {each.removeprefix("./") for each in imported} <= set(SCRIPTS)
    assert all(each.startswith("./") for each in imported)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_imports_what_the_other_exports_and_uses_it(name: str) -> None:
    for names, file in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', SCRIPTS[name]):
        exported = set(re.findall(r"export (?:async )?(?:function|const|class) (\w+)", SCRIPTS[file]))
        wanted = {each.strip() for each in names.split(",") if each.strip()}
        assert wanted <= exported, file
        for each in wanted:
            assert len(re.findall(rf"\b{each}\b", SCRIPTS[name])) > 1, f"{each} is not used"


def test_every_script_and_style_is_used() -> None:
    imported = {
        file for text in SCRIPTS.values() for file in re.findall(r'(?:from |import\()"\./([^"]+)"', text)
    }
    named = set(re.findall(r"explore/static/([\w.]+)", HTML))
    assert imported | named == {*SCRIPTS, *STYLES, "icon.svg"}


def test_nothing_comes_from_elsewhere() -> None:
    for text in (*SCRIPTS.values(), *STYLES.values(), HTML):
        assert not re.search(r"(?:https?:)?//[\w-]+\.\w", text.replace(SVG_NAMESPACE, ""))
    assert "url(" not in "".join(STYLES.values())
    assert "@import" not in "".join(STYLES.values())


def test_the_page_has_no_script_and_no_style_of_its_own() -> None:
    assert re.findall(r"<script[^>]*>[^<]", HTML) == []
    assert "<style" not in HTML
    assert not re.search(r"\s(?:style|on\w+)=", HTML)


@pytest.mark.parametrize("name", sorted(static_files()))
def test_a_file_is_served_with_its_type_and_the_policy(compass_http: httpx.Client, name: str) -> None:
    response = compass_http.get("/explore" if name == PAGE else f"/explore/static/{name}")
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    types = {".css": "text/css", ".js": "text/javascript", ".html": "text/html", ".svg": "image/svg+xml"}
    assert response.headers["content-type"].split(";")[0] == types[Path(name).suffix]
    policy = response.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in " ".join(policy)
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_file_that_has_not_changed_is_not_sent_again(compass_http: httpx.Client) -> None:
    first = compass_http.get("/explore/static/app.js")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = compass_http.get("/explore/static/app.js", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = compass_http.get("/explore/static/app.js", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/explore/static/",
        "/explore/static/none.js",
        "/explore/static/..%2fstatic_files.py",
        "/explore/static/../static_files.py",
        "/explore/static/%2e%2e%2f%2e%2e%2fapp.py",
        "/explore/static/..%5cstatic_files.py",
        "/explore/static//etc/passwd",
        "/explore/static/%2fetc%2fpasswd",
        "/explore/static/app.js%00.css",
        "/explore/static/APP.JS",
        "/explore/static/app.js/",
    ],
)
def test_no_other_file_can_be_reached(compass_http: httpx.Client, path: str) -> None:
    request = compass_http.build_request("GET", "/explore")
    request.url = request.url.copy_with(raw_path=path.encode())
    response = compass_http.send(request)
    if response.status_code != 307:  # Starlette's redirect to the path without its last slash
        assert (response.status_code, response.json()["code"]) == (404, "no_such_page")
