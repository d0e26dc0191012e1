"""The documentation site in a real browser, served as a web server would."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from scripts.browser import PAGE_DEADLINE_S
from scripts.site_pages import ROOT
from tests.browser.conftest import Scheme, Visitor
from tests.site.building import build

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.usefixtures("executable"),
]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Logs nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site's root."""
    folder: Path = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stdout
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index", "docs/index", "docs/frameworks/index", "docs/replication"])
def test_opens_without_a_fault_and_fetches_nothing_from_elsewhere(
    visit: Visitor, address: str, page: str, scheme: Scheme
) -> None:
    visited = visit(f"{address}/{page}.html", scheme)
    assert visited.faults == []
    assert [url for url in visited.fetched if not url.startswith(f"{address}/")] == []


def test_search_finds_a_term_of_the_glossary(visit: Visitor, address: str) -> None:
    visited = visit(f"{address}/index.html")
    visited.page.get_by_placeholder("Search").press_sequentially("canary")
    expect(visited.page.locator(".md-search-result__item a[href*='glossary']").first).to_be_visible(
        timeout=1000 * PAGE_DEADLINE_S
    )
    assert [url for url in visited.fetched if not url.startswith(f"{address}/")] == []
