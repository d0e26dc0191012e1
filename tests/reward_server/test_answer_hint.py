"""A group without an answer where the config looks for it gets a hint if its texts have answers elsewhere."""

from typing import Any

import httpx
import pytest

from tests.reward_server.requests import score_group

BOXED = ["<think>I add.</think> \\boxed{7}", "<think>I add.</think> \\boxed{8}", "<think>no"]
ELEMENTS = ["<think>I add.</think><answer>7</answer>", "<think>no"]


@pytest.mark.parametrize(
    ("texts", "config", "hint"),
    [
        (
            BOXED,
            {},
            "there is no <answer> in any rollout, but 2 of 3 have \\boxed{}: "
            'set "answer_from" to "boxed" or "any" in the config',
        ),
        (BOXED, {"preset": "robust"}, "2 of 3 have \\boxed{}"),
        (["\\boxed {7}"], {}, "1 of 1 have \\boxed{}"),
        (BOXED, {"answer_tag": "final"}, "there is no <final>"),
        (ELEMENTS, {"answer_from": "boxed"}, '1 of 2 have <answer>: set "answer_from" to "tag"'),
        (BOXED, {"answer_from": "boxed"}, None),
        (BOXED, {"answer_from": "any"}, None),
        ([*BOXED, *ELEMENTS], {}, None),
        ([*BOXED, "<answer>"], {}, None),
        (["<think>no", "no"], {}, None),
        (ELEMENTS, {}, None),
    ],
)
def test_hint(compass_http: httpx.Client, texts: list[str], config: dict[str, Any], hint: str | None) -> None:
    scored = score_group(compass_http, "outcome", texts, config=config)
    if hint is None:
        assert "hint" not in scored
    else:
        assert hint in scored["hint"]


def test_why_a_completion_ended_decides_over_an_open_answer(compass_http: httpx.Client) -> None:
    rollouts = [
        {"id": "0", "text": "<think>a</think><answer>7", "finish_reason": "stop"},
        {"id": "1", "text": "<think>a</think><answer>7", "finish_reason": "length"},
        {"id": "2", "text": "<think>a</think><answer>7"},
        {"id": "3", "text": "<think>a</think><answer>7</answer>", "finish_reason": None},
    ]
    body = {"groups": [{"id": "g", "rollouts": rollouts}]}
    scored = compass_http.post("/score/outcome", json=body).json()["groups"][0]
    assert [each["answer"] for each in scored["rollouts"]] == ["7", None, None, "7"]
    assert "cut off" in scored["rollouts"][1]["reason"]


def test_an_unknown_finish_reason_is_refused(compass_http: httpx.Client) -> None:
    rollouts = [{"id": "0", "text": "a", "finish_reason": "tired"}]
    response = compass_http.post("/score/outcome", json={"groups": [{"id": "g", "rollouts": rollouts}]})
    assert response.status_code == 422
    assert "finish_reason" in response.text
