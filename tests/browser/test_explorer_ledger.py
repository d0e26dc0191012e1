"""The explorer over a ledger that is only read: what it says of a run of many updates, and of changes."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ireasoner.reward_server.ledger.group_change import GroupChange, Rewards
from tests.browser.conftest import Visitor, reading_view
from tests.browser.read_server import GROUPS_PER_MINUTE, MINUTES, ReadServer

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.mark.parametrize("inside", [0, 1, 2], ids=["at the ends", "within the points", "at their last"])
def test_a_selection_has_all_updates_of_its_points(visit: Visitor, reading: ReadServer, inside: int) -> None:
    points = reading.get(f"runs/{reading.run_id('long')}/timeline", points=400)["points"]
    first, last = points[10], points[20]
    assert last["until"] - last["at"] >= 2, "a point has several updates"
    visited = reading_view(
        visit, reading, f"#/run/{reading.run_id('long')}?select={first['at'] + inside}-{last['at'] + inside}"
    )
    page = visited.page
    groups = sum(point["groups"] for point in points[10:21])
    expect(page.locator(".selection")).to_contain_text(
        f"Updates {first['at']} to {last['until']}{groups} groups"
    )
    zoom = page.get_by_role("link", name="Zoom in").get_attribute("href")
    assert str(zoom).endswith(f"from={first['at']}&until={last['until']}")
    page.get_by_role("link", name="Show these groups").click()
    expect(page.locator("table.groups .row-link")).to_have_count(groups)
    assert visited.faults == []


def test_selected_minutes_lead_to_their_groups(visit: Visitor, reading: ReadServer) -> None:
    run = reading.run_id("minutes")
    timeline = reading.get(f"runs/{run}/timeline", points=400)
    assert (timeline["unit"], len(timeline["points"])) == ("minute", MINUTES)
    first, last = timeline["points"][1], timeline["points"][3]
    visited = reading_view(visit, reading, f"#/run/{run}?select={first['at']}-{last['until']}")
    page = visited.page
    expect(page.locator(".selection")).to_contain_text(f"3 minutes{3 * GROUPS_PER_MINUTE} groups")
    page.get_by_role("link", name="Show these groups").click()
    rows = page.locator("table.groups .row-link")
    expect(rows).to_have_count(3 * GROUPS_PER_MINUTE)
    page.reload()
    expect(rows).to_have_count(3 * GROUPS_PER_MINUTE)
    page.locator(".filters .chip.on", has_text="before").click()
    expect(rows).to_have_count(MINUTES * GROUPS_PER_MINUTE)
    expect(page.locator(".filters .chip.on")).to_have_count(0)
    assert "received" not in page.url
    assert visited.faults == []


@pytest.mark.parametrize(
    ("address", "scripts"), [("#/runs", 15), ("#/run/{long}", 17), ("#/groups", 20), ("#/try", 22)]
)
def test_a_view_loads_its_own_scripts_alone(
    visit: Visitor, reading: ReadServer, address: str, scripts: int
) -> None:
    visited = reading_view(visit, reading, address.format(long=reading.run_id("long")))
    named = "performance.getEntriesByType('resource').map((each) => each.name)"
    loaded = {each for each in visited.page.evaluate(named) if each.endswith(".js")}
    assert len(loaded) <= scripts
    visited.page.goto(f"{reading.url}/explore#/compare")
    expect(visited.page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
    assert visited.faults == []


def test_the_keyboard_selects_whole_points(visit: Visitor, reading: ReadServer) -> None:
    points = reading.get(f"runs/{reading.run_id('long')}/timeline", points=400)["points"]
    page = reading_view(visit, reading, f"#/run/{reading.run_id('long')}").page
    page.locator(".charts").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".selection")).to_contain_text(f"Updates 0 to {points[2]['until']}")
    assert page.url.endswith(f"select=0-{points[2]['until']}")


def test_a_config_that_is_not_known_is_not_shown_as_paper(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/runs").page
    for source, said in (("long", "Every field is as in paper"), ("imported", "The config is not known")):
        [group] = reading.get("groups", run=reading.run_id(source), limit=1)["groups"]
        page.goto(f"{reading.url}/explore#/group/{group['id']}")
        expect(page.locator(".scoring")).to_contain_text(said)
        expect(page.locator(".scoring")).to_contain_text("fingerprint")
    expect(page.locator(".scoring")).not_to_contain_text("paper")
    expect(page.locator(".scoring .settings")).to_have_count(0)


def test_evicted_groups_are_those_of_the_oldest_updates_of_the_ledger(
    visit: Visitor, reading: ReadServer
) -> None:
    page = reading_view(visit, reading, "#/groups").page
    runs = reading.get("runs")
    runs["ledger"]["evicted_groups"] = 30
    page.route(re.compile("/ledger/runs$"), lambda route: route.fulfill(json=runs))
    page.goto(f"{reading.url}/explore#/runs")
    expect(page.locator(".notice")).to_contain_text("30 groups were evicted")
    expect(page.locator(".notice")).to_contain_text("the oldest updates of the whole ledger went first")
    expect(page.locator(".facts")).to_contain_text("oldest updates of the whole ledger")


REWARDS: tuple[tuple[Rewards, Rewards], ...] = (
    ([], []),
    ([0.5], [0.5]),
    ([0.5], [None]),
    ([None], [None]),
    ([0.5, 0.25], [0.25, 0.5]),
    ([0.5, 0.5], [0.25, 0.5]),
    ([0.5, 0.25, 0.125], [0.125, 0.25, 0.5]),
    ([0.5, 0.25, None], [0.25, None, 0.5]),
    ([0.5, 0.50005], [0.5, 0.49995]),  # within the last bits: equal on both sides
    ([0.5, 0.50005], [0.5, 0.4]),
    ([0.5, 0.5002], [0.5, 0.4998]),
    ([0.5, 0.5], [0.50009, 0.5]),
    ([0.5, 0.5], [0.50011, 0.5]),
    ([0.5, 0.5, 0.5], [0.5 + 1e-9, 0.5 - 1e-9, 0.5 + 1e-5]),
    ([-0.5, 0.5], [0.5, -0.5]),
)


def test_the_page_counts_changes_as_rescore_does(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/compare").page
    shown = _in_module(
        page,
        "comparison_figures.js",
        "rows.map(([a, b]) => [module.changedRewards(a, b), module.rankFlips(a, b)])",
        REWARDS,
    )
    counted = [GroupChange(before, after, None, None) for before, after in REWARDS]
    assert shown == [[change.changed, change.rank_flips] for change in counted]
    ranks = _in_module(page, "comparison_figures.js", "module.ranks(rows)", [0.5, 0.50005, None, 0.4, 0.6])
    assert ranks == [2, 2, None, 4, 1]


def _in_module(page: Page, file: str, expression: str, rows: object) -> Any:
    """The value of an expression over a script of the page as `module`, and `rows`."""
    code = (
        f"async (rows) => {{ const module = await import('/explore/static/{file}'); return {expression}; }}"
    )
    return page.evaluate(code, rows)
