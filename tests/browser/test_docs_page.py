"""The reward server's own page about its API, in a real browser."""

import re

import httpx
import pytest

from tests.browser.conftest import Scheme, Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.usefixtures("executable"),  # before a server is started in vain
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_a_fault_and_fetches_nothing_else(
    visit: Visitor, reward_url: str, scheme: Scheme
) -> None:
    address = f"{reward_url}/docs"
    visited = visit(address, scheme)
    assert visited.faults == []
    assert visited.fetched == [address]
    assert "/score/solver" in visited.page.inner_text("body")


def test_its_links_lead_to_headings_of_the_page(visit: Visitor, reward_url: str) -> None:
    page = visit(f"{reward_url}/docs").page
    targets = page.eval_on_selector_all(
        "a[href^='#']", "links => links.map(link => link.getAttribute('href').slice(1))"
    )
    identifiers = page.eval_on_selector_all("[id]", "elements => elements.map(element => element.id)")
    assert targets
    assert set(targets) <= set(identifiers)


def test_the_examples_go_to_the_address_that_the_browser_sees(visit: Visitor, reward_url: str) -> None:
    """Also where the server was told another one, as behind a proxy that speaks TLS."""
    address = f"{reward_url}/docs"
    page = visit(address).page
    sent = httpx.get(address, headers={"host": "other.example"})
    assert "<span class=address>http://other.example</span>" in sent.text
    page.route(address, lambda route: route.fulfill(body=sent.text, headers=dict(sent.headers)))
    page.reload()
    shown = page.eval_on_selector_all(".address", "shown => shown.map(each => each.textContent)")
    assert set(shown) == {reward_url}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_text_can_be_read_in_both_schemes(visit: Visitor, reward_url: str, scheme: Scheme) -> None:
    page = visit(f"{reward_url}/docs", scheme).page
    colours = page.evaluate(
        "() => { const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]; }"
    )
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert abs(ink - paper) > 500
    assert (ink < paper) is (scheme == "light")


def test_a_narrow_screen_does_not_scroll_sideways(visit: Visitor, reward_url: str) -> None:
    page = visit(f"{reward_url}/docs", width_px=390).page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
