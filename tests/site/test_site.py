"""The documentation: its index, its links, and the site that is built from it."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts import site_pages
from tests.site.building import build

ROOT = site_pages.ROOT
DOCS = ROOT / "docs"
_LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}


class _Loaded(HTMLParser):
    """The addresses that a browser fetches by itself when it opens a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        address = attributes.get(_LOADING.get(tag, ""))
        if address and not (tag == "link" and attributes.get("rel") in ("canonical", "next", "prev")):
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: any broken link or anchor fails it."""
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stdout
    return folder


def test_the_index_links_to_every_page_of_the_documentation() -> None:
    linked = set(site_pages.links(site_pages.INDEX))
    own = {page.relative_to(ROOT).as_posix() for page in DOCS.glob("*.md")} - {site_pages.INDEX}
    assert own - linked == set()


def test_the_index_of_the_frameworks_links_to_each_of_them() -> None:
    linked = set(site_pages.links(site_pages.FRAMEWORKS))
    own = {page.relative_to(ROOT).as_posix() for page in (DOCS / "frameworks").glob("*.md")}
    assert own - linked - {site_pages.FRAMEWORKS} == set()


def test_every_other_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set[str](), [site_pages.INDEX]
    while waiting:
        page = waiting.pop()
        if page.endswith(".md") and page not in reached and (ROOT / page).is_file():
            reached.add(page)
            waiting += site_pages.links(page)
    assert set(site_pages.pages()) - reached == set()


def test_the_site_has_every_page_and_every_figure(site: Path) -> None:
    for page in site_pages.pages():
        name = page.removesuffix("README.md") + "index.html" if page.endswith("README.md") else page
        assert (site / name).with_suffix(".html").is_file(), page
        for link in site_pages.links(page):
            if link.endswith((".svg", ".png", ".json", ".jsonl", ".toml", ".yaml")):
                assert (site / link).read_bytes() == (ROOT / link).read_bytes()
    assert list((site / "docs" / "replication").glob("*.svg"))


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for address in _Loaded(page.read_text(encoding="utf-8")).addresses:
            assert not urlsplit(address).netloc, f"{page.relative_to(site)} loads {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), (
            sheet.name
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small repository with the real configuration and hooks of the site."""
    for name in ("mkdocs.yml", "scripts/site_pages.py", "docs/site.css"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "README.md").write_text("# Home\n\n[All pages](docs/README.md)\n")
    (tmp_path / "ARCHITECTURE.md").write_text("# Architecture\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n")
    (tmp_path / "docs/README.md").write_text("# Index\n\n## First\n\n- [A page](page.md): it\n")
    (tmp_path / "parts/full").mkdir(parents=True)
    (tmp_path / "parts/full/README.md").write_text("# A part\n\n[its code](code.py)\n")
    (tmp_path / "parts/full/code.py").write_text("ANSWER = 42\n")
    (tmp_path / "parts/bare").mkdir()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/some.toml").write_text("answer = 42\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](gone.md)", "'docs/gone.md' is not found"),
        ("[gone](../configs/gone.toml)", "'configs/gone.toml' is not found"),
        ("![gone](gone.svg)", "'docs/gone.svg' is not found"),
        ('<img src="gone.png" alt="gone">', "'docs/gone.png' is not found"),
        ("[part](README.md#gone)", "does not contain an anchor '#gone'"),
        ("These are:\n- a list on GitHub only", "a list without an empty line before it"),
    ],
)
def test_a_fault_of_a_page_fails_the_build(checkout: Path, text: str, complaint: str) -> None:
    (checkout / "docs/page.md").write_text(f"# A page\n\n{text}\n")
    built = build(checkout, checkout / "site")
    assert built.returncode != 0
    assert complaint in built.stdout


def test_a_page_looks_on_the_site_as_it_does_on_github(checkout: Path) -> None:
    page = """# A page

[part](../parts/full) and [bare](../parts/bare), [ARCHITECTURE](../ARCHITECTURE.md), [configs][]

[configs]: ../configs/some.toml

- outer
  - inner

<details>
<summary>More</summary>

Some **bold** text.

</details>

```text
[not a link](nowhere.md)
```

## `GET /a_b` and more

[that heading](#get-a_b-and-more)
"""
    (checkout / "docs/page.md").write_text(page)
    built = build(checkout, checkout / "site")
    assert built.returncode == 0, built.stdout
    html = (checkout / "site/docs/page.html").read_text(encoding="utf-8")
    assert '<a href="../parts/full/index.html">part</a> and bare,' in html
    assert '<a href="../ARCHITECTURE.html">' in html
    assert re.search(r"<li>outer\s*<ul>\s*<li>inner</li>", html)
    assert "<strong>bold</strong>" in html
    assert 'id="get-a_b-and-more"' in html
    assert '<a href="../configs/some.toml">' in html
    for path in ("parts/full/code.py", "configs/some.toml"):
        assert (checkout / "site" / path).read_text() == (checkout / path).read_text()
    navigation = html[html.index("md-nav--primary") : html.index("md-content")]
    assert "First" in navigation
    assert "A page" in navigation
