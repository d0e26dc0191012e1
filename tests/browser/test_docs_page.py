"""The reward server's own page about its API, in a real browser."""

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
