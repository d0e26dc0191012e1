"""Hostile texts in every field of the explorer: they are shown, and nothing else happens."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, Visitor
from tests.browser.explorer_server import ExplorerServer, rollout_text

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

HOSTILE = {
    "script": "<script>window.pwned = 1; alert(1)</script>",
    "image": '"><img src=x onerror="window.pwned = 1">',
    "vector": "<svg/onload=window.pwned=1>",
    "frame": "<iframe src=javascript:parent.pwned=1></iframe>",
    "style": "</style><style>body { display: none }</style>",
    "link": "[x](javascript:window.pwned=1) http://elsewhere.invalid/x.png",
    "template": "${window.pwned = 1} {{constructor.constructor('window.pwned=1')()}}",
    "comment": "--><!-- ]]> &lt;script&gt; &#x3C;",
    "right to left": "safe\u202egnp.exe\u2066 \u2069 \u200fabc",
    "zero width": "an\u200bswer\u200d\u2060\ufeff 7\u00ad",
    "terminal": "\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u0008\u007f \u0000end",
    "stacked": "Z" + "\u0301\u0302\u0303" * 40,
    "separators": "one\u2028two\u2029three\u0085four",
    "skin tones": "\U0001f44d" + "\U0001f3fd" * 60 + " \U0001f44d" + "\U0001f3fd\ufe0f" * 60,
    "tags": "\U000e0041\U000e0042 hidden",
    "prototype": "__proto__",
}
KINDS = ("script", "template", "right to left", "terminal", "stacked")
"""One text of each kind: what would run, what would be filled in, what hides, controls and marks."""
OTHERS = tuple(name for name in HOSTILE if name not in KINDS)
LONG = "long " * 20_000
"""100,000 characters."""
UNBROKEN = "x" * 100_000
TONES = "\U0001f44d" + "\U0001f3fd" * 49_999
"""One emoji with many modifiers, of 100,000 code units."""


@pytest.fixture(scope="module")
def hostile(explorer: ExplorerServer) -> ExplorerServer:
    """The server with a run whose every field is hostile."""
    everything = " | ".join(HOSTILE.values())
    groups = [
        {
            "id": f"{name} {text}"[:250],
            "question": text,
            "labels": [text],
            "rollouts": [
                {"id": f"a {text}", "text": rollout_text([text, "north", text], text)},
                {"id": f"b {text}", "text": rollout_text([text, "south"], text)},
                {"id": f"c {text}", "answer": text, "steps": [text, everything]},
                {"id": f"d {text}", "text": text},
            ],
        }
        for name, text in HOSTILE.items()
    ]
    groups.append(
        {
            "id": "long",
            "question": LONG[:65_536],
            "rollouts": [
                {"id": str(index), "answer": text, "steps": [text, *HOSTILE.values()]}
                for index, text in enumerate([LONG, UNBROKEN, TONES])
            ],
        }
    )
    source = HOSTILE["script"] + HOSTILE["image"] + HOSTILE["right to left"]
    explorer.score("alpha", groups, source=source, update=1, config="robust")
    return explorer


def _check(visited: Visit) -> None:
    """Nothing but the page's own work has happened."""
    page = visited.page
    assert visited.faults == []
    assert page.evaluate("window.pwned") is None
    origin = page.evaluate("location.origin")
    assert [url for url in visited.fetched if not url.startswith(("blob:", f"{origin}/"))] == []
    assert page.locator("main script, main iframe, main style").count() == 0


def test_the_list_and_the_timeline_show_them(visit: Visitor, hostile: ExplorerServer) -> None:
    visited = visit(f"{hostile.url}/explore#/runs", token=hostile.tokens["alpha"], width_px=390)
    page = visited.page
    run = page.locator("a.run", has_text="<script>window.pwned").first
    run.click()
    expect(page.locator("h1")).to_contain_text("RLO")
    page.goto(f"{hostile.url}/explore#/groups")
    for text in ("<script>window.pwned", "<img src=x onerror", "ZWSP", "ESC[31m", "marks", "__proto__"):
        expect(page.locator("table.groups", has_text=text)).to_be_visible()
    for width_px in (390, 1280):
        page.set_viewport_size({"width": width_px, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    _check(visited)


@pytest.mark.parametrize("names", [KINDS, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=len)
def test_the_page_of_a_group_shows_them(
    visit: Visitor, hostile: ExplorerServer, names: tuple[str, ...]
) -> None:
    groups = hostile.get("groups", "alpha", limit=200, order="asc")["groups"]
    shown = 0
    visited = visit(f"{hostile.url}/explore#/runs", token=hostile.tokens["alpha"], width_px=390)
    page = visited.page
    for group in groups:
        texts = [HOSTILE[name] for name in names if group["name"].startswith(f"{name} ")]
        if not texts:
            continue
        page.goto(f"{hostile.url}/explore#/group/{group['id']}")
        expect(page.locator("h1")).to_contain_text(group["name"].split()[0])
        expect(page.locator(".rollout")).to_have_count(4)
        page.locator(".rollout details summary").first.click()
        expect(page.locator(".rollout .raw").first).to_be_visible()
        page.locator(".heat-map").scroll_into_view_if_needed()
        expect(page.locator(".heat-map canvas")).to_be_visible()
        shown += 1
        _contains_everything(page.locator(".rollout").nth(2).inner_text(), texts[0])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, group["name"]
    assert shown == len(names)
    _check(visited)


def test_a_long_text_is_folded_and_can_be_unfolded(visit: Visitor, hostile: ExplorerServer) -> None:
    found = hostile.group_id("alpha", "long")
    visited = visit(f"{hostile.url}/explore#/group/{found}", token=hostile.tokens["alpha"], width_px=390)
    page = visited.page
    unfold = page.locator("h2.question .unfold")
    expect(unfold).to_have_text("Show all 65,536 characters")
    assert len(page.locator("main").inner_text()) < 60_000
    unfold.click()
    assert len(page.locator("h2.question").inner_text()) > 60_000
    page.locator(".rollout .unfold").first.click()
    tones = page.locator(".rollout", has_text="rollout 2").locator(".unfold").first
    expect(tones).to_have_text("Show all 100,000 characters")
    tones.click()
    expect(page.locator(".rollout", has_text="rollout 2")).to_contain_text("+49991 marks")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    _check(visited)


def _contains_everything(shown: str, text: str) -> None:
    """Every visible part of the text is on the page, and of what is invisible there is a mark."""
    for part in re.findall(r"[!-~]{4,}", re.sub(r"\x1b\[[0-9;]*m", " ", text)):
        assert part in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200d\u202a-\u202e\u2060-\u2069\ufeff]", shown)


def test_pasted_texts_are_shown_as_they_are(visit: Visitor, hostile: ExplorerServer) -> None:
    visited = visit(f"{hostile.url}/explore#/try", token=hostile.tokens["beta"])
    page = visited.page
    page.locator("#pasted").fill("\n---\n".join(rollout_text([text], text) for text in HOSTILE.values()))
    page.get_by_role("button", name="Score").click()
    expect(page.locator(".rollout")).to_have_count(len(HOSTILE))
    expect(page.locator(".rollouts")).to_contain_text("<script>window.pwned")
    _check(visited)
