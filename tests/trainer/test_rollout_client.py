"""What the trainer asks of a rollout server, with the server's side written by hand."""

import json
from typing import Any

import httpx
import pytest

from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract

REQUEST = RolloutRequest([{"role": "user", "content": "How many?"}], None, 2, 7)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies that were sent; each is answered with log-probabilities if it asks for them."""
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        bodies.append(body)
        choices = [
            {
                "index": index,
                "message": {"content": text},
                "token_ids": [5],
                "finish_reason": "stop",
                **({"logprobs": {"content": [{"logprob": -0.5}]}} if body.get("logprobs") else {}),
            }
            for index, text in ((1, "two"), (0, "one"))
        ]
        return httpx.Response(200, json={"model": body["model"], "prompt_token_ids": [1], "choices": choices})

    original = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **kwargs: original(**{**kwargs, "transport": httpx.MockTransport(answer)})
    )
    return bodies


def test_texts_ask_as_rollouts_do_but_for_no_log_probabilities(asked: list[dict[str, Any]]) -> None:
    client, contract = RolloutClient("http://127.0.0.1:9"), SamplingContract(4)
    [rollouts] = client.sample("solver-000001", [REQUEST], contract)
    assert client.texts("solver-000001", [REQUEST], contract) == [["one", "two"]]
    client.close()
    assert [(rollout.text, rollout.logprobs) for rollout in rollouts] == [("one", (-0.5,)), ("two", (-0.5,))]
    of_rollouts, of_texts = asked
    assert of_rollouts.pop("logprobs") is True
    assert of_texts == of_rollouts
