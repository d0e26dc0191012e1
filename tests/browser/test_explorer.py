"""The explorer in a real browser, over a real server with tokens and a ledger."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from playwright.sync_api import Locator, Page, expect

from ireasoner.reward_server.ledger.ledger_wire import EndpointName
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring_config import ConfigOverrides
from tests.browser.conftest import Scheme, Visit, Visitor
from tests.browser.explorer_server import ExplorerServer, Json, group

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

UPDATES = 6
VIEWS = ("runs", "run", "groups", "group", "compare", "stored", "pair", "two configs", "try")


@pytest.fixture(scope="module")
def filled(explorer: ExplorerServer) -> ExplorerServer:
    """The server with two runs of beta: one learns, the other has collapsed."""
    for update in range(UPDATES):
        progress: Json = {"update": update, "progress": update / (UPDATES - 1)}
        asked: Json = {"question": "Where does the needle point?", "labels": ["n"]}
        learning = [
            group(f"even {update}", "nnes" if update < 3 else "nnne", **asked),
            group(f"tied {update}", "nnss", "north northeast north", question="And now?"),
            group(f"cut {update}", "nne", question="Which way?") | {"labels": ["e"]},
        ]
        learning[2]["rollouts"][2]["text"] = "<think>Step 1: north</think>"
        explorer.score("beta", learning, source="learning", config="paper", **progress)
        explorer.score(
            "beta", [group(f"all {update}", "nnnn")], source="collapsed", config="robust", **progress
        )
    explorer.rescore("presets", "--config", "robust", "--against", "paper", "--run", "learning")
    return explorer


@pytest.fixture(scope="module")
def addresses(filled: ExplorerServer) -> dict[str, str]:
    """The address of every view."""
    learning, collapsed = (filled.run_id("beta", source) for source in ("learning", "collapsed"))
    even = filled.group_id("beta", "even 5")
    return {
        "runs": "#/runs",
        "run": f"#/run/{learning}?select=1-3",
        "groups": f"#/groups?run={learning}&flag=tie&sort=reward",
        "group": f"#/group/{even}",
        "compare": "#/compare",
        "stored": "#/compare/presets",
        "pair": f"#/compare?runs={learning}%2C{collapsed}",
        "two configs": f"#/compare?group={even}&a=paper&b=robust",
        "try": "#/try?config=paper&progress=1&text=<answer>7</answer><answer>8</answer>",
    }


def opened(visit: Visitor, server: ExplorerServer, address: str, **how: object) -> Visit:
    """A view of the explorer, as beta's token sees it, when it has been drawn."""
    visited = visit(f"{server.url}/explore{address}", token=server.tokens["beta"], **how)
    expect(visited.page.locator("main h1").first).to_be_visible()
    return visited


def shown_groups(page: Page) -> list[str]:
    """The captions of the table's rows."""
    return page.locator("table.groups .row-link").all_inner_texts()


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 1280), ("dark", 390)])
def test_every_view_opens_without_a_fault(
    visit: Visitor, filled: ExplorerServer, addresses: dict[str, str], scheme: Scheme, width_px: int
) -> None:
    visited = opened(visit, filled, addresses["runs"], scheme=scheme, width_px=width_px)
    page = visited.page
    for view in VIEWS:
        page.goto(f"{filled.url}/explore{addresses[view]}")
        page.wait_for_load_state("networkidle") if view == "try" else None
        expect(page.locator("main h1").first).to_be_visible()
        expect(page.locator("#progress")).to_be_hidden()
        expect(page.locator(".notice.wrong")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px, view
        assert _unnamed_controls(page) == [], view
        assert _faint_texts(page) == [], view
    assert visited.faults == []
    origins = {url for url in visited.fetched if not url.startswith((f"{filled.url}/", "blob:"))}
    assert origins == set()


def _unnamed_controls(page: Page) -> list[str]:
    """Controls and pictures without a name for a screen reader."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, textarea, [role=img], canvas, summary")]
          .filter((each) => each.checkVisibility())
          .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length))
          .map((each) => each.outerHTML.slice(0, 120))"""
    )
    return found


def _faint_texts(page: Page) -> list[str]:
    """Texts whose contrast with the nearest opaque background is below 4.5 (WCAG AA), but those meant to be faint."""
    found: list[str] = page.evaluate(
        """() => {
          const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
          const light = (colour) => channels(colour).slice(0, 3)
            .map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
            .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
          const behind = (node) => {
            for (let each = node; each; each = each.parentElement) {
              const colour = getComputedStyle(each).backgroundColor;
              if (colour.startsWith("rgb(")) return colour;
            }
            return "rgb(255, 255, 255)";
          };
          const bad = new Set();
          for (const node of document.querySelectorAll("main *, header *")) {
            const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
            if (!hasText || !node.checkVisibility() || node.closest(".nothing, .off, .cosine, option, svg")) continue;
            const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) bad.add(`${node.className}: ${node.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
          }
          return [...bad];
        }"""
    )
    return found


def test_the_runs_are_listed_with_their_figures(visit: Visitor, filled: ExplorerServer) -> None:
    page = opened(visit, filled, "#/runs").page
    rows = page.locator("a.run")
    learning = rows.filter(has_text="learning")
    expect(learning).to_contain_text(f"update {UPDATES - 1}")
    expect(learning).to_contain_text(f"{3 * UPDATES}")
    expect(learning.locator("svg.sparkline")).to_have_count(3)
    expect(page.get_by_role("heading", name="beta")).to_be_visible()
    learning.click()
    expect(page.locator("h1")).to_have_text("beta / learning")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Experiments")


def test_a_token_is_asked_for_and_sees_its_experiment_alone(visit: Visitor, filled: ExplorerServer) -> None:
    filled.score("alpha", [group("secret", "nnn", question="A secret of alpha?")], source="hidden", update=0)
    secret = filled.group_id("alpha", "secret")
    visited = visit(f"{filled.url}/explore#/groups")
    page = visited.page
    for token, reason in (("wrong", "to its own tokens"), (filled.tokens["beta"], "does not know")):
        expect(page.locator("dialog[open]")).to_contain_text(reason)
        page.locator("#token").fill(token)
        page.keyboard.press("Enter")
    expect(page.locator("table.groups")).to_be_visible()
    assert "secret" not in page.locator("main").inner_text()
    page.get_by_label("Search questions").fill("secret of alpha")
    expect(page.locator("main")).to_contain_text("No group matches")
    page.goto(f"{filled.url}/explore#/group/{secret}")
    expect(page.locator(".notice.wrong")).to_contain_text("Not found")
    assert filled.tokens["beta"] not in page.content()
    operator = visit(f"{filled.url}/explore#/runs", token=filled.tokens["operator"]).page
    expect(operator.locator("a.run", has_text="hidden")).to_be_visible()
    expect(operator.locator("a.run", has_text="learning")).to_be_visible()


def test_a_run_is_followed_to_its_end(visit: Visitor, filled: ExplorerServer) -> None:
    filled.score("beta", [group("live 0", "nnes")], source="live", update=0)
    run = filled.run_id("beta", "live")
    timeline = opened(visit, filled, f"#/run/{run}").page
    groups = opened(visit, filled, f"#/groups?run={run}").page
    expect(timeline.locator("#live")).to_have_text("live")
    expect(groups.locator("#live")).to_have_text("live")
    expect(groups.locator("table.groups .row-link")).to_have_count(1)
    for update in range(1, 4):
        filled.score("beta", [group(f"live {update}", "nnne")], source="live", update=update)
    expect(groups.locator(".pill")).to_contain_text("3 new groups")
    assert shown_groups(groups) == ["Group live 0"], "a row that is read does not move away"
    groups.locator(".pill").click()
    expect(groups.locator("table.groups .row-link")).to_have_text(
        [f"Group live {update}" for update in (3, 2, 1, 0)]
    )
    expect(groups.locator(".pill")).to_be_hidden()
    expect(timeline.locator(".chart svg .tick").filter(has_text=re.compile("^3$")).first).to_be_visible()


def test_the_charts_share_a_crosshair_and_a_selection(visit: Visitor, filled: ExplorerServer) -> None:
    run = filled.run_id("beta", "learning")
    page = opened(visit, filled, f"#/run/{run}").page
    charts = page.locator(".chart")
    box = charts.nth(2).locator(".plot").bounding_box()
    assert box is not None
    left, width, middle = box["x"] + 34, box["width"] - 42, box["y"] + box["height"] / 2
    page.mouse.move(left + 0.4 * width, middle)
    expect(page.locator(".readout")).to_contain_text("update 2 · 3 groups")
    assert page.locator(".cursor line").count() == charts.count()
    page.mouse.move(left + 0.2 * width, middle)
    page.mouse.down()
    page.mouse.move(left + 0.6 * width, middle, steps=3)
    page.mouse.up()
    expect(page.locator(".selection")).to_contain_text("Updates 1 to 3")
    expect(page.locator(".selection")).to_contain_text("9 groups")
    assert page.url.endswith("select=1-3")
    page.get_by_role("link", name="Show these groups").click()
    expect(page.locator("table.groups .row-link")).to_have_count(9)
    assert {int(each) for each in re.findall(r"update (\d)", page.locator("table.groups").inner_text())} == {
        1,
        2,
        3,
    }
    page.go_back()
    expect(page.locator(".selection")).to_contain_text("Updates 1 to 3")


def test_groups_are_sorted_filtered_searched_and_exported(visit: Visitor, filled: ExplorerServer) -> None:
    run = filled.run_id("beta", "learning")
    page = opened(visit, filled, f"#/groups?run={run}").page
    rows = page.locator("table.groups .row-link")
    expect(rows).to_have_count(3 * UPDATES)
    page.get_by_role("button", name="tie", exact=True).click()
    expect(rows).to_have_count(UPDATES)
    assert "flag=tie" in page.url
    page.get_by_role("button", name="tie", exact=True).click()
    page.get_by_role("button", name="invalid", exact=True).click()
    expect(rows).to_have_count(UPDATES)
    expect(page.locator(".flag.invalid")).to_have_count(UPDATES)
    page.get_by_role("link", name="reward", exact=True).click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("reward")
    page.locator("[data-sort=reward]").click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("reward")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    assert len(lines) == UPDATES
    page.go_back()
    page.go_back()
    page.go_back()
    page.go_back()
    expect(page.locator(".chip[aria-pressed=true]")).to_have_text("tie")
    expect(rows).to_have_count(UPDATES)
    page.get_by_label("Search questions").fill("WHERE does the needle")
    expect(page.locator("main")).to_contain_text("No group matches")
    page.get_by_role("button", name="tie", exact=True).click()
    expect(rows).to_have_count(UPDATES)
    page.get_by_label("dominant share from").fill("0.7")
    page.get_by_label("dominant share from").press("Enter")
    expect(rows).to_have_count(3)


def test_the_parts_of_each_reward_add_up_on_the_page(visit: Visitor, filled: ExplorerServer) -> None:
    page = opened(visit, filled, "#/runs").page
    for name in ("even 5", "tied 3", "cut 2", "all 4"):
        found = filled.group_id("beta", name)
        stored = filled.get(f"groups/{found}", "beta")
        rewards = {rollout["id"]: rollout["reward"] for rollout in stored["scored"]["rollouts"]}
        page.goto(f"{filled.url}/explore#/group/{found}")
        expect(page.locator("h1")).to_contain_text(name)
        expect(page.locator(".rollout")).to_have_count(len(rewards))
        for rollout in page.locator(".rollout").all():
            exact = rewards[
                rollout.locator(".rollout-answer small").last.inner_text().removeprefix("rollout ")
            ]
            _adds_up(rollout, exact)


def _adds_up(rollout: Locator, exact: float) -> None:
    """The numbers of a rollout, as they stand on the page, add up to its reward."""
    names = ("outcome", "trajectory", "reward")
    parts = {name: float(rollout.locator(f"[data-part={name}]").inner_text()) for name in names}
    assert (
        round(parts["outcome"] + parts["trajectory"], 4) == parts["reward"] == pytest.approx(exact, abs=5e-5)
    )
    for product, part in zip(rollout.locator(".product").all_inner_texts(), parts.values(), strict=False):
        value, weight = (float(factor) for factor in product.split(" × "))
        assert value * weight == pytest.approx(part, abs=2e-4)
    brought = [float(each.replace("−", "-")) for each in rollout.locator(".brought").all_inner_texts()]
    if brought:
        assert round(sum(brought), 4) == parts["trajectory"]


@pytest.mark.parametrize("endpoint", get_args(EndpointName))
def test_a_group_of_every_endpoint_opens_and_is_compared(
    visit: Visitor, filled: ExplorerServer, endpoint: str
) -> None:
    filled.score("beta", [group(f"of {endpoint}", "nne")], endpoint, source="endpoints", config="paper")
    stored = filled.group_id("beta", f"of {endpoint}")
    page = opened(visit, filled, f"#/group/{stored}").page
    expect(page.locator("article.rollout")).to_have_count(3)
    expect(page.locator("article.rollout").first).to_contain_text("north")
    expect(page.locator(".clusters")).to_contain_text("2 of 3")
    page.keyboard.press("c")
    expect(page.locator(".facts")).to_contain_text("changed rewards")
    expect(page.locator(".facts")).to_contain_text("of 1" if endpoint == "proposer" else "of 3")


def test_the_keyboard_alone_is_enough(visit: Visitor, filled: ExplorerServer) -> None:
    page = opened(visit, filled, "#/runs").page
    press = page.keyboard.press
    heading = page.locator("main h1").first
    press("?")
    expect(page.locator("dialog[open]")).to_contain_text("next / previous item")
    press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    press("g")
    press("g")
    expect(heading).to_have_text("Groups")
    press("/")
    expect(page.get_by_label("Search questions")).to_be_focused()
    page.keyboard.type("needle")
    expect(page.locator("table.groups .row-link")).to_have_count(UPDATES)
    press("Escape")
    press("j")
    press("j")
    press("k")
    first = page.locator("table.groups .row-link").first
    expect(first).to_be_focused()
    press("j")
    press("Enter")
    expect(heading).to_contain_text("even 4")
    press("j")
    expect(heading).to_contain_text("even 3")
    press("k")
    expect(heading).to_contain_text("even 4")
    press("c")
    expect(page.get_by_label("First config")).to_be_visible()
    press("Escape")
    expect(heading).to_contain_text("even 4")
    press("Escape")
    expect(heading).to_have_text("Groups")
    expect(page.get_by_label("Search questions")).to_have_value("needle")
    for key, title in (("c", "Compare"), ("t", "Try"), ("e", "Experiments")):
        press("g")
        press(key)
        expect(heading).to_have_text(title)
    press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_two_configs_and_two_runs_are_compared(
    visit: Visitor, filled: ExplorerServer, addresses: dict[str, str]
) -> None:
    page = opened(visit, filled, addresses["two configs"]).page
    expect(page.locator(".facts")).to_contain_text("changed rewards")
    expect(page.locator("table.changes tbody tr")).to_have_count(4)
    page.get_by_label("Second config").select_option("paper")
    expect(page.locator(".facts")).to_contain_text("0 of 4")
    page.goto(f"{filled.url}/explore{addresses['pair']}")
    expect(page.locator("h1")).to_have_text("beta / learning and beta / collapsed")
    expect(page.locator(".chart").first.locator(".value")).to_have_count(2)


HALF = '{"preset": "paper", "alpha": 0.5}'
COMPARISONS = (
    ("presets", "robust", "paper", "paper → robust"),
    ("recorded", "robust", None, "as recorded → robust"),
    ("overridden", HALF, "paper", "paper → paper+"),
    ("against-overridden", "robust", HALF, "paper+ → robust"),
    ("both-overridden", HALF, HALF, "paper+ → paper+"),
    ("elsewhere", "mine", "paper", "paper → mine"),
    ("against-elsewhere", "paper", "mine", "mine → paper"),
)
"""Stored comparisons, and their configs as the page names them; the server itself has no config `mine`."""


def test_a_stored_comparison_opens_its_groups(visit: Visitor, filled: ExplorerServer, tmp_path: Path) -> None:
    ConfigRegistry(tmp_path).put("mine", ConfigOverrides(alpha=0.25))
    for name, config, against, _ in COMPARISONS:
        other = () if against is None else ("--against", against)
        words = ("--config", config, *other, "--run", "learning", "--configs-folder", str(tmp_path))
        filled.rescore(name, *words)
    visited = opened(visit, filled, "#/compare")
    page = visited.page
    for name, _, _, configs in COMPARISONS:
        page.goto(f"{filled.url}/explore#/compare")
        heading = page.get_by_role("heading", name=name, exact=True)
        page.locator("a.comparison").filter(has=heading).click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("main")).to_contain_text(f"{configs} · {3 * UPDATES} groups")
        first = page.locator("table.groups .row-link").first
        found = str(first.get_attribute("data-item"))
        first.click()
        if name == "presets":
            expect(page.get_by_label("First config")).to_have_value("paper")
            expect(page.get_by_label("Second config")).to_have_value("robust")
            assert f"group={found}&" in page.url
        else:
            expect(page.locator("h1.group-name")).to_be_visible()
            assert page.url.endswith(f"#/group/{found}"), name
        expect(page.locator(".notice.wrong")).to_have_count(0)
    assert visited.faults == []


def test_what_is_pasted_gets_the_page_of_a_group_and_a_link(visit: Visitor, filled: ExplorerServer) -> None:
    page = opened(visit, filled, "#/try").page
    page.get_by_role("button", name="Load an example").click()
    expect(page.locator(".rollout")).to_have_count(3)
    expect(page.locator(".cluster-answer").first).to_have_text("7")
    page.locator(".heat-map").scroll_into_view_if_needed()
    expect(page.locator(".heat-map canvas")).to_be_visible()
    page.locator("#overrides").fill('{"alpha": "x"}')
    page.get_by_role("button", name="Score").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"^config\.alpha: .* number$"))
    page.locator("#overrides").fill('{"alpha": 0.5}')
    with page.expect_request("**/score/solver") as asked:
        page.get_by_role("button", name="Score").click()
    assert json.loads(asked.value.post_data or "")["record"] is False
    expect(page.locator(".scoring .changed").first).to_contain_text("alpha")
    again = opened(visit, filled, page.url.split("/explore")[1]).page
    expect(again.locator(".rollout")).to_have_count(3)
    expect(again.locator(".scoring .changed").first).to_contain_text("not 0.7")


def test_the_heat_map_names_both_steps(visit: Visitor, filled: ExplorerServer) -> None:
    page = opened(visit, filled, f"#/group/{filled.group_id('beta', 'even 5')}").page
    page.locator(".heat-map").scroll_into_view_if_needed()
    page.locator(".heat-map canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".heat-readout")).to_contain_text("step 2")
    expect(page.locator(".heat-readout .big")).to_have_text(re.compile(r"^−?[01]\.\d{3}$"))


def test_a_server_without_a_ledger_says_what_to_do(visit: Visitor, reward_url: str) -> None:
    visited = visit(f"{reward_url}/explore")
    page = visited.page
    expect(page.locator("main")).to_contain_text("reward-server --ledger")
    page.goto(f"{reward_url}/explore#/groups")
    expect(page.locator("main")).to_contain_text("records nothing")
    page.goto(f"{reward_url}/explore#/compare")
    expect(page.locator("main")).to_contain_text("ireasoner rescore")
    page.goto(f"{reward_url}/explore#/try")
    page.get_by_role("button", name="Load an example").click()
    expect(page.locator(".rollout")).to_have_count(3)
    unexpected = [fault for fault in visited.faults if "404" not in fault]
    assert unexpected == []
