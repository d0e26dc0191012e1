"""The name of the base model, as rollout servers list it."""

from types import SimpleNamespace
from typing import Any

import pytest

from ireasoner.trainer.errors import RolloutServerError
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas


def client(said: Any) -> Any:
    """A client whose server answers this."""
    one: Any = RolloutClient("http://127.0.0.1:1")
    one.request = lambda *_: SimpleNamespace(json=lambda: said)
    return one


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
