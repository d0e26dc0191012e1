"""Malformed requests get 422, as a problem that names the field and the reason."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.reward_server.requests import Json, group, rollout

GOOD = group([rollout("7", "east")])


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        ({}, "groups", "required"),
        ({"groups": []}, "groups", "at least 1 item"),
        ({"groups": {}}, "groups", "list"),
        ({"groups": [GOOD, {"id": "h"}]}, "groups[1].rollouts", "required"),
        ({"groups": [{"id": "g", "rollouts": []}]}, "groups[0].rollouts", "at least 1 item"),
        ({"groups": [{"id": 1, "rollouts": GOOD["rollouts"]}]}, "groups[0].id", "string"),
        ({"groups": [group(["a"]) | {"label": "7"}]}, "groups[0].label", "not permitted"),
        ({"groups": [{"id": "g", "rollouts": [{"id": "0"}]}]}, "groups[0].rollouts[0]", "either text"),
        (
            {"groups": [{"id": "g", "rollouts": [{"id": "0", "text": "a", "answer": "7"}]}]},
            "groups[0].rollouts[0]",
            "either text",
        ),
        (
            {"groups": [{"id": "g", "rollouts": [{"id": "0", "answer": "7", "steps": ["a", 2]}]}]},
            "groups[0].rollouts[0].steps[1]",
            "string",
        ),
        ({"groups": [GOOD, group(["a"], "h"), GOOD]}, "groups", "the id 'g' is used more than once"),
        (
            {"groups": [{"id": "g", "rollouts": [*GOOD["rollouts"], {"id": "0", "text": "b"}]}]},
            "groups[0].rollouts",
            "the id '0' is used more than once",
        ),
        ({"groups": [GOOD], "config": "nope"}, "config", "no config 'nope'"),
        ({"groups": [GOOD], "config": {"preset": "nope"}}, "config", "no config 'nope'"),
        ({"groups": [GOOD], "config": {"alhpa": 1}}, "config.alhpa", "not permitted"),
        ({"groups": [GOOD], "config": {"alpha": "0.7"}}, "config.alpha", "number"),
        ({"groups": [GOOD], "config": {"tau_words": 0}}, "config.tau_words", "greater than 0"),
        ({"groups": [GOOD], "config": 7}, "config", "dictionary"),
        ({"groups": [GOOD], "progress": 1.5}, "progress", "less than or equal to 1"),
        ({"groups": [GOOD], "progress": True}, "progress", "number"),
        ({"groups": [GOOD], "detail": "all"}, "detail", "'full' or 'rewards'"),
        ([], "body", "dictionary"),
    ],
)
def test_the_problem_names_the_field_and_the_reason(
    compass_http: httpx.Client, body: Json, path: str, reason: str
) -> None:
    response = compass_http.post("/score/solver", json=body)
    problem = response.json()
    assert response.status_code == problem["status"] == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["retryable"]) == ("malformed_request", False)
    assert [fault["place"] for fault in problem["errors"]] == [path]
    assert reason in problem["errors"][0]["reason"]
    assert problem["errors"][0]["reason"] in problem["detail"]


@pytest.mark.parametrize(
    ("faults", "more"),
    [
        (2, ", and 1 more fault"),
        (3, ", and 2 more faults"),
        (25, ", and 24 more faults; the first 20 are listed"),
    ],
)
def test_the_detail_names_the_first_fault_and_counts_the_others(
    compass_http: httpx.Client, faults: int, more: str
) -> None:
    groups = [{"id": f"g{number}"} for number in range(faults)]
    problem = compass_http.post("/score/solver", json={"groups": groups}).json()
    assert problem["detail"] == f"groups[0].rollouts: Field required{more}"
    assert len(problem["errors"]) == min(faults, 20)


@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "proposer"])
def test_progress_belongs_to_the_solver(compass_http: httpx.Client, endpoint: str) -> None:
    response = compass_http.post(f"/score/{endpoint}", json={"groups": [GOOD], "progress": 0.5})
    assert response.status_code == 422
    assert response.json()["errors"][0]["place"] == "progress"


JSON_BODY = {"content-type": "application/json"}
HALF_A_PAIR = b'{"groups": [{"id": "g", "rollouts": [{"id": "0", "text": "a\\ud800b"}]}]}'
NOT_A_NUMBER = b'{"groups": [{"id": "g", "rollouts": [{"id": "0", "text": "a"}]}], "progress": NaN}'


@pytest.mark.parametrize(
    ("content", "path", "reason"),
    [
        (b'{"groups": [', "character 12", "not JSON"),
        (b'{"groups": "\n"}', "character 12", "Invalid control character"),
        (b"", "body", "required"),
        (b"\xff\xfe", "character 0", "not JSON"),
        (HALF_A_PAIR, "groups[0].rollouts[0].text", "surrogate"),
        (NOT_A_NUMBER, "progress", "finite"),
        (NOT_A_NUMBER.replace(b"NaN", b"-Infinity"), "progress", "finite"),
        (NOT_A_NUMBER.replace(b"NaN", b"1e400"), "progress", "finite"),
        (NOT_A_NUMBER.replace(b"NaN", b"1" * 30), "progress", "less than or equal to 1"),
        (NOT_A_NUMBER.replace(b"NaN", b"1" * 5000), "body", "parsing"),
        (NOT_A_NUMBER.replace(b"NaN", b'1, "progress": 2'), "progress", "less than or equal to 1"),
        (NOT_A_NUMBER.replace(b'"a"', b'"\xff"'), "body", "parsing"),
        (b"[" * 1_025 + b"]" * 1_025, "body", "nested deeper than 200"),
        (b"[" * 1_024 + b"]" * 1_024, "body", "dictionary"),
        (b"[" * 1_500, "body", "nested deeper than 200"),
        (b"[" * 1_020 + b"NaN" + b"]" * 1_020, "body", "nested deeper than 200"),
        (b" " * 2**20 + NOT_A_NUMBER, "character 1048", "not JSON"),
    ],
)
def test_invalid_json_is_refused(compass_http: httpx.Client, content: bytes, path: str, reason: str) -> None:
    response = compass_http.post("/score/solver", content=content, headers=JSON_BODY)
    problem = response.json()
    assert response.status_code == 422, problem
    fault = problem["errors"][0] if problem["errors"] else {"place": "body", "reason": problem["detail"]}
    assert fault["place"].startswith(path)
    assert reason in fault["reason"]


def test_the_last_of_two_equal_keys_counts(compass_http: httpx.Client) -> None:
    content = NOT_A_NUMBER.replace(b"NaN", b'2, "progress": 1')
    assert compass_http.post("/score/solver", content=content, headers=JSON_BODY).status_code == 200


def test_another_content_type_is_refused_with_a_hint(compass_http: httpx.Client) -> None:
    response = compass_http.post("/score/outcome", data={"groups": "[]"})
    assert response.status_code == 422
    assert "content-type: application/json" in response.json()["detail"]


def test_a_body_over_the_limit_is_refused(compass_http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(33):
            yield b" " * 2**20

    sized = compass_http.post("/score/outcome", content=b" " * (32 * 2**20 + 1))
    headers = {"content-type": "application/json"}
    chunked = compass_http.post("/score/outcome", content=chunks(), headers=headers)
    for response in (sized, chunked):
        assert response.status_code == 413
        assert response.json()["code"] == "request_too_large"


def test_unknown_routes_and_methods_are_problems(compass_http: httpx.Client) -> None:
    unknown = compass_http.post("/score/solvers", json={}).json()
    assert (unknown["code"], unknown["detail"]) == (
        "no_such_page",
        "POST /score/solvers: Not Found; did you mean /score/solver?",
    )
    assert compass_http.get("/xyz").json()["detail"] == "GET /xyz: Not Found"
    wrong_method = compass_http.get("/score/solver")
    assert wrong_method.json()["code"] == "method_not_allowed"
    assert wrong_method.headers["allow"] == "POST"


def test_a_request_id_is_kept_or_made(compass_http: httpx.Client) -> None:
    body = {"groups": [GOOD]}
    kept = compass_http.post("/score/outcome", json=body, headers={"x-request-id": "run-7.step:3"})
    assert kept.json()["request_id"] == kept.headers["x-request-id"] == "run-7.step:3"
    made = compass_http.post("/score/outcome", json=body, headers={"x-request-id": "a b\tc"})
    assert made.json()["request_id"] == made.headers["x-request-id"] != "a b\tc"


def test_probes_and_docs(compass_http: httpx.Client) -> None:
    assert compass_http.get("/livez").json() == {"alive": True}
    ready = compass_http.get("/readyz").json()
    assert (ready["ready"], ready["embedder"], ready["last_pass"]["ok"]) == (True, "token-mean", True)
    page = compass_http.get("/", follow_redirects=True).text
    assert page == compass_http.get("/docs").text
    assert "/score/solver" in page
    assert not re.search(r"<link(?! rel=icon href=data:,)|src=|https?://(?!127)", page), (
        "it must work offline"
    )


COHORT_BODIES = {
    "/verify": b'{"responses_create_params": {"input": "q"}, "response": {"output": []}, "extra": %s}',
    "/cohort/remote": b'{"prompt": %s, "response": "r"}',
    "/cohort/openrlhf": b'{"query": ["pr"], "prompts": ["p"], "labels": [%s]}',
}
PLACES = {"/verify": "extra", "/cohort/remote": "prompt", "/cohort/openrlhf": "labels[0]"}


@pytest.mark.parametrize("route", list(COHORT_BODIES))
@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        (b'"\\ud800"', "", "surrogate"),
        (b'"a\\udfffb"', "", "character 1 is half"),
        (b'["a", {"b": "\\ud83d"}]', "[1].b", "surrogate"),
        (b'{"\\ud800": 1}', "", "surrogate"),
        (b"NaN", "", "finite"),
        (b"[1, -Infinity]", "[1]", "finite"),
        (b'{"a": 1e400}', ".a", "finite"),
        (b"[" * 201 + b"]" * 201, None, "nested deeper"),
        (b"[" * 261 + b"]" * 261, None, "nested deeper"),
        (b'{"a":' * 400 + b"1" + b"}" * 400, None, "nested deeper"),
        (b"[" * 1_010 + b"]" * 1_010, None, "nested deeper"),
        (b"[" * 5_000 + b"]" * 5_000, None, "nested deeper"),
        pytest.param(b"1" * 5_000, None, "body: parsing it failed", id="5,000 digits"),
    ],
)
def test_what_cannot_be_sent_back_is_refused_before_scoring(
    compass_http: httpx.Client, route: str, value: bytes, place: str | None, reason: str
) -> None:
    before = scored_groups(compass_http)
    refused = compass_http.post(
        f"{route}?group_size=1", content=COHORT_BODIES[route] % value, headers=JSON_BODY
    )
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "malformed_request")
    assert reason in problem["detail"]
    if place is not None:
        assert [fault["place"] for fault in problem["errors"]] == [PLACES[route] + place]
    assert scored_groups(compass_http) == before


def scored_groups(http: httpx.Client) -> list[str]:
    return [line for line in http.get("/metrics").text.splitlines() if line.startswith("reward_groups_total")]


@pytest.mark.parametrize("route", list(COHORT_BODIES))
@pytest.mark.parametrize(
    "value",
    [
        b"null",
        b'"\\ud83d\\ude00"',
        '"é 漢 😀"'.encode(),
        b'["a", {"b": [null, true, 1.5, -0.0, 1e300, 123456789012]}]',
        b"[" * 190 + b"]" * 190,
        b'{"a":' * 150 + b"null" + b"}" * 150,
        b'""',
    ],
)
def test_any_other_json_is_taken_and_sent_back(compass_http: httpx.Client, route: str, value: bytes) -> None:
    sent = COHORT_BODIES[route] % value
    answered = compass_http.post(f"{route}?group_size=1", content=sent, headers=JSON_BODY)
    assert answered.status_code == 200, answered.text
    if route == "/verify":
        assert answered.json()["extra"] == json.loads(value)


@pytest.mark.parametrize(
    "config", ["{" * 2_000, '{"a":' * 2_000, '{"preset": "\\ud800"}', '{"alpha": NaN}', "\x00"]
)
def test_a_config_in_the_url_that_is_not_one_is_refused(compass_http: httpx.Client, config: str) -> None:
    body = {"prompt": "p", "response": "r"}
    refused = compass_http.post("/cohort/remote", params={"group_size": 1, "config": config}, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "malformed_request")


@pytest.mark.parametrize(
    ("method", "url", "place", "reason"),
    [
        ("POST", "/cohort/remote?group_size=1&deadline=3", "deadline", "did you mean deadline_s?"),
        ("POST", "/verify?size=1", "size", "known are group_size, deadline_s, config, progress, run"),
        ("GET", "/ledger/groups?lim=1", "lim", "did you mean limit?"),
        ("GET", "/ledger/runs?run=0-1", "run", "it takes none"),
    ],
)
def test_a_parameter_of_the_url_that_a_route_does_not_know_is_refused(
    compass_http: httpx.Client, method: str, url: str, place: str, reason: str
) -> None:
    body = {"prompt": "p", "response": "r"} if method == "POST" else None
    refused = compass_http.request(method, url, json=body)
    assert refused.status_code == 422, refused.text
    [fault] = refused.json()["errors"]
    assert fault["place"] == place
    assert fault["reason"].endswith(reason)


def test_faulty_steps_are_counted_once_per_rollout(compass_http: httpx.Client) -> None:
    """A list is not searched beyond its first fault: a body could have a quarter of a million."""
    body = {"groups": [{"id": "g", "rollouts": [{"id": "0", "answer": "7", "steps": [1, 2, 3]}]}]}
    problem = compass_http.post("/score/solver", json=body).json()
    assert [fault["place"] for fault in problem["errors"]] == ["groups[0].rollouts[0].steps[0]"]
