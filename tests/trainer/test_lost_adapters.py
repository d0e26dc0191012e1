"""A rollout server that is restarted in the middle of a publication or a request loses all adapters; none is missed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ireasoner.trainer.adapters.publisher import RESTORES, AdapterPublisher
from ireasoner.trainer.errors import PolicyMissingError
from ireasoner.trainer.loop.sampler import Sampler
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract

REQUEST = RolloutRequest([], None, 1, 0)


class Restarting:
    """Stands in for the server: before some of the calls to it, it is restarted."""

    base_url = "http://rollouts"

    def __init__(self, restarts: Sequence[int]) -> None:
        self._restarts = set(restarts)
        self.calls = 0
        self.served: set[str] = set()

    def load_adapter(self, name: str, path: str) -> None:
        self._call()
        self.served.add(name)

    def unload_adapter(self, name: str) -> None:
        self._call()
        self.served.discard(name)

    def models(self) -> list[str]:
        self._call()
        return ["base", *self.served]

    def sample(self, name: str, requests: Sequence[RolloutRequest], contract: SamplingContract) -> list[Any]:
        self._call()
        if name not in self.served:
            raise PolicyMissingError(f"404 {name} does not exist")
        return [name for _ in requests]

    def _call(self) -> None:
        if self.calls in self._restarts:
            self.served.clear()
        self.calls += 1


class Asking:
    """Stands in for the canary: asks the server for a completion."""

    def __init__(self, server: Restarting) -> None:
        self._server = server
        self.checked: list[str] = []

    def check(self, policy: Any, role: str, name: str, *_: Any) -> float:
        self._server.sample(name, [REQUEST], SamplingContract(1))
        self.checked.append(name)
        return 0.0


def publisher_of(server: Restarting, folder: Path, canary: Asking) -> AdapterPublisher:
    return AdapterPublisher(
        server,  # type: ignore[arg-type]
        folder,
        write=lambda policy, role, path: path.mkdir(parents=True),
        canary=canary,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("restart", range(8))
def test_a_restart_at_any_moment_of_two_publications_and_a_request(restart: int, tmp_path: Path) -> None:
    server = Restarting([restart])
    canary = Asking(server)
    publisher = publisher_of(server, tmp_path, canary)
    for version in (1, 2):
        publisher.publish(None, "solver", version)
    sampler = Sampler(server, publisher)  # type: ignore[arg-type]
    assert len(sampler.sample("solver-000002", [REQUEST], SamplingContract(1))) == 1
    assert canary.checked == ["solver-000001", "solver-000002"]
    assert publisher.served("solver") == "solver-000002"
    assert [each.name for each in tmp_path.iterdir()] == ["solver-000002"]
    assert server.calls >= 8, "the restarts are in the calls"


@pytest.mark.parametrize("restarts", [(1, 4), (2, 4), (2, 5, 8), (1, 2, 3)])
def test_several_restarts_while_one_version_is_published(restarts: tuple[int, ...], tmp_path: Path) -> None:
    server = Restarting(restarts)
    canary = Asking(server)
    publisher_of(server, tmp_path, canary).publish(None, "solver", 1)
    assert canary.checked == ["solver-000001"]
    assert server.served == {"solver-000001"}


def test_a_server_that_never_lists_what_it_loaded_is_an_error(tmp_path: Path) -> None:
    server = Restarting(range(1_000))
    publisher = publisher_of(server, tmp_path, Asking(server))
    with pytest.raises(
        PolicyMissingError, match="solver-000001 was loaded, but http://rollouts does not list it"
    ):
        publisher.publish(None, "solver", 1)
    assert server.calls == 2 + 3 * RESTORES
