"""Whole distributions in the rollout server's answers, and the name of the base model."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ireasoner.trainer.errors import RolloutRequestRefused, RolloutServerError, SettingsError
from ireasoner.trainer.loop.preflight import _check_distributions
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import Measured, RolloutRequest, SamplingContract

MEASURED = Measured(("self_certainty",), 5)
CONTRACT = SamplingContract(8, forbidden_token_ids=(4,))


def word(token_id: int, probability: float) -> dict[str, Any]:
    return {"token": f"token_id:{token_id}", "logprob": math.log(probability) if probability else -9999.0}


def answer(*tokens: Sequence[dict[str, Any]]) -> dict[str, Any]:
    content = [{**words[0], "top_logprobs": list(words)} for words in tokens]
    return {
        "model": "p",
        "prompt_token_ids": [1],
        "choices": [
            {
                "index": 0,
                "token_ids": list(range(len(tokens))),
                "logprobs": {"content": content},
                "message": {"content": "7"},
                "finish_reason": "stop",
            }
        ],
    }


def client(said: Any) -> Any:
    """A client whose server answers this, and keeps what it was sent."""
    one: Any = RolloutClient("http://127.0.0.1:1")
    one.sent = []

    def request(_method: str, _path: str, body: object = None, _headers: object = None) -> Any:
        one.sent.append(body)
        if isinstance(said, Exception):
            raise said
        return SimpleNamespace(json=lambda: said)

    one.request = request
    return one


def sample(said: Any, measured: Measured | None = MEASURED) -> Any:
    one = client(said)
    [[rollout]] = one.sample("p", [RolloutRequest([], None, 1, 0, measured)], CONTRACT)
    return rollout, one.sent[0]


SHARP = [word(2, 0.7), word(0, 0.1), word(1, 0.1), word(3, 0.1), word(4, 0.0)]
SHARPER = [word(0, 0.97), word(1, 0.01), word(2, 0.01), word(4, 0.0), word(3, 0.01)]


def test_forbidden_words_do_not_count() -> None:
    """Word 4 has no probability: with it, KL(U, p) would be in the thousands."""
    rollout, sent = sample(answer(SHARP, SHARPER))
    assert rollout.figures == {"self_certainty": pytest.approx((0.4298, 2.0752), abs=1e-4)}
    assert (sent["top_logprobs"], sent["return_tokens_as_token_ids"]) == (5, True)


def test_nothing_is_asked_for_that_is_not_measured() -> None:
    rollout, sent = sample(answer([word(2, 0.7)]), None)
    assert rollout.figures == {}
    assert "top_logprobs" not in sent


@pytest.mark.parametrize(
    "tokens", [[SHARP[:3]], [SHARP, SHARPER[:1]], [[word(4, 1.0)]], [[*SHARP, word(5, 0.1)]]]
)
def test_a_part_of_a_distribution_is_an_error(tokens: list[list[dict[str, Any]]]) -> None:
    with pytest.raises(RolloutServerError, match=r"log-probabilities of \d words instead of 4"):
        sample(answer(*tokens))


def models(*names: tuple[str, str | None]) -> dict[str, Any]:
    return {"data": [{"id": name, "parent": parent} for name, parent in names]}


def test_the_base_model_is_no_adapter() -> None:
    assert client(models(("solver-1", "base"), ("base", None))).base_model() == "base"
    assert client({"data": [{"id": "base"}]}).base_model() == "base"
    with pytest.raises(RolloutServerError, match="lists no base model"):
        client(models(("solver-1", "base"))).base_model()


def test_replicas_serve_the_base_model_under_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RolloutClient, "base_model", lambda self: self.name)
    members: Any = [client({}), client({})]
    for member, name in zip(members, ("base", "other"), strict=True):
        member.name = name
    with pytest.raises(RolloutServerError, match="as base and other: start all with one --served-model-name"):
        RolloutReplicas(members).base_model()
    members[1].name = "base"
    assert RolloutReplicas(members).base_model() == "base"


def test_a_server_that_refuses_whole_distributions_is_named_before_the_run() -> None:
    refusal = RolloutRequestRefused(
        "400 Requested sample logprobs of 5, which is greater than max allowed: 4"
    )
    refusing: Any = SimpleNamespace(members=[client(refusal)])
    refusing.members[0].base_model = lambda: "p"
    with pytest.raises(
        SettingsError, match=r"needs the log-probabilities of all 5 words, .*: start it with --max-log"
    ):
        _check_distributions(refusing, MEASURED)
    giving: Any = SimpleNamespace(members=[client(answer(SHARP))])
    giving.members[0].base_model = lambda: "p"
    _check_distributions(giving, MEASURED)
