"""The log lines of requests: what they say of a refused one, and that no caller can write a line of its own."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.observability import logs
from tests.reward_server.requests import Json, group, rollout

GOOD = {"groups": [group([rollout("7", "east")])]}
JSON = {"content-type": "application/json"}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "ireasoner.reward_server.api.admission")
    return caplog


def logged(lines: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line of the last request, as JSON."""
    records = [each for each in lines.records if hasattr(each, "ms")]
    [line] = logs._JsonLines().format(records[-1]).splitlines()
    fields: dict[str, Any] = json.loads(line)
    return fields


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        (
            "POST",
            "/score/solver",
            {"json": {"groups": []}},
            {"status": 422, "code": "malformed_request", "place": "groups", "path": "/score/solver"},
        ),
        (
            "POST",
            "/score/solver",
            {"json": {**GOOD, "config": {"alhpa": 1}}},
            {
                "code": "malformed_request",
                "place": "config.alhpa",
                "reason": "Extra inputs are not permitted",
            },
        ),
        (
            "POST",
            "/score/outcome",
            {"content": b"{", "headers": JSON},
            {"code": "malformed_request", "place": "character 1"},
        ),
        ("POST", "/score/outcome", {"content": b"{}"}, {"code": "malformed_request", "place": "body"}),
        (
            "POST",
            "/cohort/remote",
            {"json": {"prompt": "p", "response": "r", "label": None}},
            {"code": "malformed_request", "place": "group_size", "path": "/cohort/remote"},
        ),
        ("GET", "/configs/none", {}, {"status": 404, "code": "no_such_config", "path": "/configs/none"}),
        ("GET", "/nowhere?token=secret", {}, {"status": 404, "code": "no_such_page", "path": "/nowhere"}),
        ("PUT", "/livez", {}, {"status": 405, "code": "method_not_allowed", "path": "/livez"}),
        (
            "POST",
            "/score/outcome",
            {"content": b" " * 40_000_000, "headers": JSON},
            {"status": 413, "code": "request_too_large"},
        ),
    ],
)
def test_the_line_of_a_refused_request_says_what_and_why(
    compass_http: httpx.Client,
    lines: pytest.LogCaptureFixture,
    method: str,
    path: str,
    sent: Json,
    expected: Mapping[str, object],
) -> None:
    answered = compass_http.request(method, path, **sent)
    line = logged(lines)
    assert expected.items() <= line.items()
    assert line["status"] == answered.status_code
    assert line["reason"]
    assert "secret" not in json.dumps(line)


def test_the_line_of_an_answered_request_has_no_reason(
    compass_http: httpx.Client, lines: pytest.LogCaptureFixture
) -> None:
    assert compass_http.post("/score/outcome", json=GOOD).status_code == 200
    assert {"code", "path", "place", "reason"}.isdisjoint(logged(lines))


FORGED = '\n{"level": "critical"}\r\n2026-01-01 CRITICAL forged\x1b[31m\u2028\u202e\u200b'


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/score/solver", {"json": {**GOOD, FORGED: 1}}),
        ("POST", "/score/solver", {"json": {**GOOD, "x" * 1_000_000: 1}}),
        ("POST", "/score/solver", {"json": {**GOOD, "config": FORGED}}),
        ("POST", "/score/solver", {"json": {**GOOD, "config": {FORGED: 1}}}),
        ("POST", "/score/solver", {"json": {"groups": [group([FORGED], FORGED)] * 2}}),
        ("POST", "/score/solver", {"content": FORGED.encode(), "headers": JSON}),
        ("GET", "/configs/%0Aforged%1b%E2%80%A8", {}),
        ("GET", "/" + "x" * 60_000, {}),
        ("GET", "/\u202eforged\u200b", {}),
    ],
)
@pytest.mark.parametrize("formatter", [logs._JsonLines(), logs._TextLines(logs._TEXT)])
def test_what_a_caller_sends_is_cut_and_stays_on_its_line(
    compass_http: httpx.Client,
    lines: pytest.LogCaptureFixture,
    formatter: logging.Formatter,
    method: str,
    path: str,
    sent: Json,
) -> None:
    assert 400 <= compass_http.request(method, path, **sent).status_code < 500
    for record in lines.records:
        logs._add_request(record)
        line = formatter.format(record)
        assert line.isprintable()
        assert len(line) < 4 * logs.MAX_SHOWN + 500


def test_lines_of_text_show_the_fields() -> None:
    record = logging.LogRecord("server", logging.INFO, __file__, 1, "GET %s", ("/",), None)
    vars(record).update(status=422, code="malformed_request", reason='the id "g" is used')
    logs._add_request(record)
    line = logs._TextLines(logs._TEXT).format(record)
    assert line.endswith(
        'INFO server: GET / status=422 code="malformed_request" reason="the id \\"g\\" is used" request_id=-'
    )
