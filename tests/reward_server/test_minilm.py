"""The default embedder through the real app: the same texts get the same rewards, whoever else is asking."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from services.reward_server.embedder import packaged_minilm
from tests.reward_server.requests import Json, group, rewards, rollout, score, score_group

TOLERANCE = 1e-5
SENTENCE = "the row reads two four one so we add them up and carry what is over into the next place"
TEXTS = [
    rollout("7", "The second row reads 2, 4, 1.", "2 plus 4 is 6.", "6 plus 1 is 7."),
    rollout("7", "Row 2 holds the digits 2, 4 and 1.", "Their sum is 7."),
    rollout("7", "I see 2 4 1.", "2+4+1=7", "So the answer is seven."),
    rollout("8", "I see 2 5 1.", "2+5+1=8"),
]


def crowd(size: int) -> list[Json]:
    """Groups of other people's texts, of many lengths."""
    words = SENTENCE.split()
    return [
        group([rollout("7", *[f"{' '.join(words[: 1 + i * j % 17])} {i}" for j in range(1, 6)])] * 2)
        for i in range(size)
    ]


@pytest.mark.parametrize("preset", ["paper", "robust"])
def test_rewards_do_not_depend_on_who_else_asks(minilm_http: httpx.Client, preset: str) -> None:
    config = {"preset": preset}
    alone = rewards(score_group(minilm_http, "solver", TEXTS, config=config))
    inside = score(minilm_http, "solver", *crowd(20), group(TEXTS), *crowd(10), config=config)["groups"][20]
    assert rewards(inside) == pytest.approx(alone, abs=TOLERANCE)
    backwards = rewards(score_group(minilm_http, "solver", TEXTS[::-1], config=config))
    assert backwards[::-1] == pytest.approx(alone, abs=TOLERANCE)
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(score, minilm_http, "solver", other) for other in crowd(24)]
        beside = [pool.submit(score_group, minilm_http, "solver", TEXTS, config=config) for _ in range(4)]
        for future in beside:
            assert rewards(future.result()) == pytest.approx(alone, abs=TOLERANCE)
        assert all(len(other.result()["groups"]) == 1 for other in others)


def test_cosines_are_those_of_the_library(minilm_http: httpx.Client) -> None:
    from sentence_transformers import SentenceTransformer  # repaired by the server

    steps = ["The second row reads 2, 4, 1.", "Row 2 holds the digits 2, 4 and 1.", "I see 2 4 1."]
    rows = SentenceTransformer(packaged_minilm(), device="cpu").encode(steps).astype(np.float64)
    expected = rows @ rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
    scored = score_group(minilm_http, "trajectory", [rollout("7", step) for step in steps])
    cosines = [each["steps"][0]["cosine"] for each in scored["rollouts"]]
    assert cosines == pytest.approx(list(expected), abs=TOLERANCE)
