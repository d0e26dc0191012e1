"""The explorer over a ledger that is only read: what it says of a run of many updates, and of changes."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ireasoner.reward_server.ledger.group_change import GroupChange, Rewards
from tests.browser.conftest import Visitor, reading_view
from tests.browser.read_server import GROUPS_PER_MINUTE, MINUTES, ReadServer
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent

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


def test_a_run_of_both_roles_shows_the_solver_s_updates_as_the_list_does(
    visit: Visitor, reading: ReadServer
) -> None:
    """The last number is the same on both pages, and the line has no gap at the Proposer's updates."""
    page = reading_view(visit, reading, "#/runs").page
    row = page.locator("a.run", has_text="both")
    expect(page.locator(".run.head").first).to_contain_text("last dominant share")
    listed = row.locator(".spark b").all_inner_texts()
    row.click()
    expect(page.locator(".tabs a")).to_have_text(["solver", "proposer", "all"])
    expect(page.locator(".tabs a[aria-current=true]")).to_have_text("solver")
    expect(page.locator(".readout")).to_contain_text("Values of the last update that has them")
    titles = ("Reward and its components", "Answer entropy, nats", "Dominant share")
    charts = [page.locator(".chart").filter(has=page.get_by_role("heading", name=title)) for title in titles]
    assert [chart.locator(".value b").first.inner_text() for chart in charts] == listed
    page.locator(".tabs a", has_text="all").click()
    expect(page.locator(".tabs a[aria-current=true]")).to_have_text("all")
    reward = charts[0].locator("path.line").first.get_attribute("d")
    assert (str(reward).count("M"), str(reward).count("L")) == (1, 3)
    assert page.url.endswith("endpoint=all")
    expect(page.get_by_role("link", name="All groups")).not_to_have_attribute("href", re.compile("endpoint"))


def test_a_ledger_that_is_only_read_is_live_once_groups_come(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/runs").page
    expect(page.locator("#live")).to_have_text("read only")
    expect(page.locator(".facts")).not_to_contain_text("not recorded")
    keep(reading.ledger, [record(sent(["7"], "late"), feed="late", source="late", update=0)])
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("a.run", has_text="late")).to_be_visible()


def test_a_random_name_is_not_shown(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/compare").page
    number = "0f8fad5b-d9cb-469f-a165-70867728950e"
    names = [
        number,
        number.upper(),
        number.replace("-", ""),
        f"{number.replace('-', '')}-3",
        f"{number}-voters-1",
    ]
    kept = ["q1", "0", "deadbeef", number[:-1], f"grid {number}", "7" * 31, "1b2-3"]
    shown = _in_module(
        page,
        "run_name.js",
        "rows.map((name) => module.groupName({ name, id: '0-17' }))",
        [*names, *kept],
    )
    assert shown == ["0-17"] * len(names) + kept


def test_two_runs_of_one_axis_are_offered_first(visit: Visitor, reading: ReadServer) -> None:
    page = reading_view(visit, reading, "#/compare").page
    chosen = [page.get_by_label(label).input_value() for label in ("First run", "Second run")]
    runs = {run["id"]: run for run in reading.get("runs")["runs"]}
    first, second = (runs[each] for each in chosen)
    assert first["id"] == next(iter(runs))
    assert second["id"] != first["id"]
    assert (first["last_update"] is None) == (second["last_update"] is None)


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
