"""The page `/docs`: its examples can be pasted into a shell, and nothing that a caller sends gets into it."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.api.docs_html import as_html
from ireasoner.reward_server.api.docs_page import DEFAULT_URL
from ireasoner.reward_server.api.examples import EXAMPLES
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.settings import RewardServerSettings

ADDRESS = "http://rewards.example:8010"


def document(**settings: Any) -> dict[str, Any]:
    return create_app(RewardServerSettings(**settings)).openapi()


@pytest.fixture
def with_tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.touch()
    return file


def commands(page: str) -> list[list[str]]:
    """The words of the examples' commands."""
    shown = re.findall(r"<figcaption>Request</figcaption><pre>(.*?)</pre>", page, re.DOTALL)
    return [shlex.split(html.unescape(re.sub("<.*?>", "", each))) for each in shown]


def url(command: list[str]) -> str:
    [found] = [word for word in command if re.match("https?://[^ ]*$", word)]
    return found


def test_operation_ids_are_the_names_of_the_functions() -> None:
    ids = [each["operationId"] for path in document()["paths"].values() for each in path.values()]
    assert {"score_outcome", "score_solver", "put_config", "delete_config", "verify", "metrics"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch("[a-z_]{1,32}", each) for each in ids)


def test_every_endpoint_has_a_request_to_this_server_and_a_response() -> None:
    page = as_html(document(), ADDRESS)
    shown = commands(page)
    assert len(shown) == len(EXAMPLES) == page.count("<figcaption>Response</figcaption>")
    assert all(url(command).startswith(f"{ADDRESS}/") for command in shown)
    assert page.count(f"<span class=address>{ADDRESS}</span>") == len(EXAMPLES)


@pytest.mark.parametrize(
    "address",
    [
        'http://evil"><script>alert(1)</script>',
        "http://a'; rm -rf ~; '",
        "http://$(id)",
        "http://a b",
        "javascript:alert(1)",
        "http://" + "a" * 1_000,
        "",
    ],
)
def test_an_address_that_could_be_an_attack_is_not_shown(address: str) -> None:
    page = as_html(document(), address)
    assert page == as_html(document(), DEFAULT_URL)


def test_a_forged_host_does_not_reach_the_page(compass_http: httpx.Client) -> None:
    for forged in ('evil"><script>alert(1)</script>', "a';id;'", "$(id)"):
        answered = compass_http.get("/docs", headers={"host": forged})
        assert answered.status_code in (200, 400)
        assert forged not in html.unescape(answered.text)


def test_the_page_may_run_its_own_script_alone(compass_http: httpx.Client) -> None:
    answered = compass_http.get("/docs")
    policy = answered.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answered.text.count("<script>") == answered.text.count("<style>") == 1
    assert re.findall(r"\b(?:src|href)=(?!'?#)([^\s>]+)", answered.text) == ["data:,", "openapi.json"]


@pytest.mark.parametrize("open_metrics", [False, True])
def test_with_tokens_the_examples_carry_one_where_it_is_needed(with_tokens: Path, open_metrics: bool) -> None:
    described = document(tokens_file=with_tokens, open_metrics=open_metrics)
    header = ["-H", "authorization: Bearer $TOKEN"]
    for command in commands(as_html(described, ADDRESS)):
        path = url(command).removeprefix(ADDRESS)
        is_open = path in ("/livez", "/readyz") or (open_metrics and path == "/metrics")
        assert (header == [*header[:1], *(word for word in command if word == header[1])]) is not is_open
    assert not any(header[1] in command for command in commands(as_html(document(), ADDRESS)))


def test_the_document_says_where_a_token_is_needed(with_tokens: Path) -> None:
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        (document(), [{}]),
        (document(tokens_file=with_tokens), []),
    ]
    for described, optional in cases:
        schemes = described["components"]["securitySchemes"]
        assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
        operations = {path: each for path, methods in described["paths"].items() for each in methods.values()}
        assert operations["/score/solver"]["security"] == [{"bearer": []}, *optional]
        assert operations["/metrics"]["security"] == [{"bearer": []}, *optional]
        assert operations["/verify"]["security"] == [{"bearer": []}, {"token_in_url": []}, *optional]
        assert "security" not in operations["/livez"]
        named = {name for each in operations.values() for way in each.get("security", ()) for name in way}
        assert named <= set(schemes)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`a`", "<p><code>a</code></p>"),
        ("`a` and `b < c`", "<p><code>a</code> and <code>b &lt; c</code></p>"),
        ("``a`b``", "<p><code>a`b</code></p>"),
        ("`[Errors]` [Errors]", "<p><code>[Errors]</code> <a href='#Errors'>Errors</a></p>"),
        ("one ` alone", "<p>one ` alone</p>"),
        ("<b> & `<i>`", "<p>&lt;b&gt; &amp; <code>&lt;i&gt;</code></p>"),
        ("first\n\nsecond", "<p>first</p><p>second</p>"),
        ("`over\ntwo lines`", "<p><code>over\ntwo lines</code></p>"),
    ],
)
def test_marks_of_code_are_rendered(text: str, shown: str) -> None:
    described = document()
    described["paths"]["/livez"]["get"]["description"] = text
    assert shown in as_html(described, ADDRESS)


def test_no_mark_is_left_on_the_page() -> None:
    page = re.sub(r"<(pre|script|style)>.*?</\1>", "", as_html(document(), ADDRESS), flags=re.DOTALL)
    assert "`" not in page
    assert json.dumps(document())  # the page changes nothing of the document
