"""Short ways to write requests and to read responses."""

from collections.abc import Sequence
from typing import Any

import httpx

Json = dict[str, Any]


def rollout(answer: str | None, *steps: str) -> str:
    """A rollout's text in the paper's form; without an answer element if `answer` is None."""
    numbered = "\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, start=1))
    thinking = f"<think>{numbered}</think>"
    return thinking if answer is None else f"{thinking}<answer>{answer}</answer>"


def group(texts: Sequence[str], group_id: str = "g") -> Json:
    """A group whose rollouts are numbered from 0."""
    return {"id": group_id, "rollouts": [{"id": str(i), "text": text} for i, text in enumerate(texts)]}


def score(http: httpx.Client, endpoint: str, *groups: Json, **fields: Any) -> Json:
    """Scores groups over HTTP; the request must succeed."""
    response = http.post(f"/score/{endpoint}", json={"groups": groups, **fields})
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def score_group(http: httpx.Client, endpoint: str, texts: Sequence[str], **fields: Any) -> Json:
    """Scores one group; returns its part of the response."""
    scored: Json = score(http, endpoint, group(texts), **fields)["groups"][0]
    return scored


def rewards(scored: Json, part: str = "reward") -> list[float]:
    """One number of each rollout."""
    return [rollout[part] for rollout in scored["rollouts"]]
