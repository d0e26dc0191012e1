"""A rollout server that is restarted in the middle of a publication or a request loses all adapters; none is missed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ireasoner.trainer.adapters.first_process import FirstProcess
from ireasoner.trainer.adapters.publisher import RESTORES, AdapterPublisher
from ireasoner.trainer.errors import PolicyMissingError
from ireasoner.trainer.loop.sampler import Sampler
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.settings import ROLES
from tests.moved_clock import MovedClock

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


class Slow(Restarting):
    """Each call to it takes a while."""

    def __init__(self, restarts: Sequence[int], clock: MovedClock, call_s: float) -> None:
        super().__init__(restarts)
        self._clock = clock
        self._call_s = call_s
        self.begun_s: list[float] = []
        self.first_loss_s = math.inf

    def sample(self, name: str, requests: Sequence[RolloutRequest], contract: SamplingContract) -> list[Any]:
        try:
            return super().sample(name, requests, contract)
        except PolicyMissingError:
            self.first_loss_s = min(self.first_loss_s, self._clock.now_s)
            raise

    def _call(self) -> None:
        self.begun_s.append(self._clock.now_s)
        self._clock.now_s += self._call_s
        super()._call()


class Asking:
    """Stands in for the canary: asks the server for a completion."""

    def __init__(self, server: Restarting) -> None:
        self._server = server
        self.checked: list[str] = []

    def check(self, policy: Any, role: str, name: str, first_process: FirstProcess) -> float:
        first_process(lambda: self._server.sample(name, [REQUEST], SamplingContract(1)))
        self.checked.append(name)
        return 0.0


BUDGET_S = 300.0


def publisher_of(
    server: Restarting, folder: Path, canary: Asking, retry_budget_s: float = BUDGET_S
) -> AdapterPublisher:
    return AdapterPublisher(
        server,  # type: ignore[arg-type]
        folder,
        write=lambda policy, role, path: path.mkdir(parents=True),
        canary=canary,  # type: ignore[arg-type]
        retry_budget_s=retry_budget_s,
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


def sampler_of(server: Restarting, folder: Path, retry_budget_s: float = BUDGET_S) -> Sampler:
    """Samples from two roles, each of which has one version."""
    publisher = publisher_of(server, folder, Asking(server), retry_budget_s)
    for role in ROLES:
        publisher.publish(None, role, 1)
    return Sampler(server, publisher)  # type: ignore[arg-type]


@pytest.mark.parametrize("call_s", [1.0, 40.0, 99.0, 160.0, 299.0])
def test_a_server_that_goes_on_losing_adapters_has_one_budget(
    call_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many requests and adapters that is: nothing begins later than a budget after the first loss."""
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.adapters.publisher")
    server = Slow(range(6, 10_000), clock, call_s)
    sampler = sampler_of(server, tmp_path)
    with pytest.raises(PolicyMissingError):
        sampler.sample("solver-000001", [REQUEST], SamplingContract(1))
    assert max(server.begun_s) < server.first_loss_s + BUDGET_S
    assert server.calls <= 6 + 1 + 4 * RESTORES


def test_the_error_says_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.adapters.publisher")
    sampler = sampler_of(Slow(range(6, 10_000), clock, 50.0), tmp_path)
    with pytest.raises(
        PolicyMissingError, match="http://rollouts lost adapters, and did not have all of them again 300 s"
    ):
        sampler.sample("solver-000001", [REQUEST], SamplingContract(1))


@pytest.mark.parametrize("restarts", [(6,), (6, 8), (6, 10)])
def test_losses_within_the_budget_are_repaired(
    restarts: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.adapters.publisher")
    server = Slow(restarts, clock, 20.0)
    sampler = sampler_of(server, tmp_path)
    for _ in range(2):
        clock.now_s += 10 * BUDGET_S
        assert len(sampler.sample("solver-000001", [REQUEST], SamplingContract(1))) == 1
    assert server.served == {"solver-000001", "proposer-000001"}


def test_a_loss_counts_from_its_own_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from an earlier one's loss, nor from the start of long sampling."""
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.adapters.publisher")
    server = Slow([6, 11, 16], clock, 0.0)
    sampler = sampler_of(server, tmp_path)
    for _ in range(3):
        assert sampler.sample("solver-000001", [REQUEST], SamplingContract(1))
        clock.now_s += 2 * BUDGET_S
    assert server.calls >= 17, "there were three losses"


def test_without_a_budget_nothing_is_loaded_again(tmp_path: Path) -> None:
    server = Restarting([6])
    sampler = sampler_of(server, tmp_path, retry_budget_s=0)
    with pytest.raises(PolicyMissingError, match="again 0 s later"):
        sampler.sample("solver-000001", [REQUEST], SamplingContract(1))
    assert server.calls == 7
