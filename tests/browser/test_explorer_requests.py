"""The explorer's lists when a request fails, comes late or ends early."""

import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Visitor, reading_view
from tests.browser.read_server import ReadServer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PAGE = 50
GROUPS = re.compile(r"/ledger/groups\?")
Json = dict[str, Any]


@pytest.mark.parametrize("address", ["#/groups", "#/compare/many"])
def test_a_page_that_fails_takes_nothing_away_and_can_be_asked_for_again(
    visit: Visitor, reading: ReadServer, address: str
) -> None:
    page = reading_view(visit, reading, address).page
    rows = page.locator("table.groups .row-link")
    expect(rows).to_have_count(PAGE)
    failing = re.compile("cursor=")
    page.route(failing, lambda route: _refuse(route, "It is busy."))
    more = page.get_by_role("button", name="Show 50 more")
    more.click()
    expect(page.locator(".more [role=alert]")).to_have_text("It is busy.")
    expect(rows).to_have_count(PAGE)
    page.unroute(failing)
    page.route(failing, lambda route: route.abort())
    more.click()
    expect(page.locator(".more [role=alert]")).to_contain_text("does not answer")
    page.unroute(failing)
    more.click()
    expect(rows).to_have_count(2 * PAGE)
    expect(page.locator(".more [role=alert]:not(:empty)")).to_have_count(0)


def _refuse(route: Route, detail: str) -> None:
    route.fulfill(status=503, json={"code": "overloaded", "detail": detail})


@pytest.mark.parametrize("answer", ["an error", "groups"])
def test_what_an_older_search_gets_is_dropped(visit: Visitor, reading: ReadServer, answer: str) -> None:
    page = reading_view(visit, reading, "#/groups").page
    held: list[Route] = []
    page.route(re.compile("q=older"), lambda route: held.append(route))
    rows = page.locator("table.groups .row-link")
    search = page.get_by_label("Search questions")
    with page.expect_request(re.compile("q=older")):
        search.fill("older")
    search.fill("What is 77 plus")
    expect(rows).to_have_text(["What is 77 plus 0?"])
    with page.expect_event("requestfinished", lambda request: "q=older" in request.url):
        _refuse(held[0], "Too late.") if answer == "an error" else held[0].fulfill(json=_groups([]))
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(rows).to_have_text(["What is 77 plus 0?"])
    expect(page.locator("table.groups")).to_have_count(1)


def test_a_search_that_fails_says_why_and_the_next_one_works(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/groups").page
    page.route(re.compile("q=fails"), lambda route: _refuse(route, "It is busy."))
    search = page.get_by_label("Search questions")
    search.fill("fails")
    expect(page.locator(".card.table [role=alert]")).to_have_text("It is busy.")
    search.fill("What is 77 plus")
    expect(page.locator("table.groups .row-link")).to_have_text(["What is 77 plus 0?"])


def test_a_search_that_waits_does_not_follow_to_another_view(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/groups").page
    page.clock.install()
    page.evaluate(
        """() => {
          const input = document.querySelector("[type=search]");
          input.value = "needle";
          input.dispatchEvent(new Event("input"));
          location.hash = "#/runs";
        }"""
    )
    expect(page.locator("h1")).to_have_text("Experiments")
    page.clock.fast_forward(5_000)
    assert page.url.endswith("#/runs")
    expect(page.locator("h1")).to_have_text("Experiments")


@pytest.mark.parametrize(
    ("names", "is_complete", "following", "said"),
    [
        (["g1"], True, None, "1 group, all that match"),
        (["g1"], False, None, "1 group, all that match among the newest 65,536 groups of the ledger"),
        (["g1"], True, "next", "1 group shown"),
        (["g1"], False, "next", "1 group shownSearch on"),
        ([], True, None, "No group matches"),
        ([], False, None, "Nothing among the newest 65,536 groups of the ledger."),
        ([], False, "next", "Nothing among the groups looked at so far."),
    ],
)
def test_a_list_says_how_complete_it_is(
    visit: Visitor,
    reading: ReadServer,
    names: list[str],
    is_complete: bool,
    following: str | None,
    said: str,
) -> None:
    page = reading_view(visit, reading, "#/runs").page
    groups = reading.get("groups", limit=200)["groups"][: len(names)]
    answer = {**_groups(groups), "next": following, "is_complete": is_complete}
    page.route(GROUPS, lambda route: route.fulfill(json=answer))
    page.goto(f"{reading.url}/explore#/groups?q=plus&sort=reward")
    shown = page.locator(".more" if names else ".empty-state")
    expect(shown).to_contain_text(said)
    if said.endswith("all that match"):
        expect(shown).not_to_contain_text("newest")


def _groups(groups: list[Json]) -> Json:
    return {"groups": groups, "next": None, "is_complete": True}
