"""Two real rollout servers used as one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.trainer.errors import CanaryError
from ireasoner.trainer.images import png_bytes, read_image
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.rollout_server.running import running_server
from tests.trainer.test_adapters import QUESTION, StaleServer, image, policy, published_with_canary

__all__ = ["image", "policy"]  # fixtures

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def urls(rollout_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with running_server(MODEL, tmp_path_factory.mktemp("second_rollout_server") / "log.txt") as second:
        yield rollout_url, second.url


@pytest.fixture
def clients(urls: tuple[str, str]) -> Iterator[list[RolloutClient]]:
    clients = [RolloutClient(url, retry_budget_s=5) for url in urls]
    yield clients
    for client in clients:
        client.close()


def test_every_version_is_published_to_every_replica_and_checked_there(
    policy: Any, image: Image.Image, clients: list[RolloutClient], tmp_path: Path
) -> None:
    publisher = published_with_canary(policy, image, RolloutReplicas(clients), tmp_path)
    first = publisher.served("solver")
    second = publisher.publish(policy, "solver", 2)
    for client in clients:
        assert second in client.models()
        assert first not in client.models()
    publisher.withdraw()


def test_one_replica_that_serves_older_weights_is_found(
    policy: Any, image: Image.Image, clients: list[RolloutClient], tmp_path: Path
) -> None:
    fresh, stale = clients
    older: Any = StaleServer(stale)
    publisher = published_with_canary(policy, image, RolloutReplicas([fresh, older]), tmp_path)
    with pytest.raises(CanaryError, match=rf"{stale.base_url} \(engine 0\) does not serve "):
        publisher.publish(policy, "solver", 2)
    for client in clients:
        for name in client.models()[1:]:
            client.unload_adapter(name)


def test_an_adapter_that_one_replica_has_lost_is_loaded_again(
    policy: Any, image: Image.Image, clients: list[RolloutClient], tmp_path: Path
) -> None:
    replicas = RolloutReplicas(clients)
    publisher = published_with_canary(policy, image, replicas, tmp_path)
    name = publisher.served("solver")
    clients[1].unload_adapter(name)
    assert name not in replicas.models()
    publisher.restore()
    assert name in replicas.models()
    publisher.withdraw()


def test_requests_are_distributed_and_return_in_order(clients: list[RolloutClient], tmp_path: Path) -> None:
    write_unlabelled(tmp_path, 5, seed=3)
    pictures = [png_bytes(read_image(path)) for path in sorted(tmp_path.iterdir())]
    requests = [RolloutRequest(solver_messages(QUESTION), picture, 1, 0) for picture in pictures]
    asked: list[list[RolloutRequest]] = []

    class Noting(RolloutClient):
        def sample(self, policy: str, requests: Any, contract: Any, engine: int | None = None) -> Any:
            asked.append(list(requests))
            return super().sample(policy, requests, contract, engine)

    contract = SamplingContract(12, temperature=0.0)
    [base] = clients[0].models()
    expected = clients[0].sample(base, requests, contract)
    replicas = RolloutReplicas([Noting(client.base_url) for client in clients])
    sampled = replicas.sample(base, requests, contract)
    replicas.close()
    assert [[one.token_ids for one in group] for group in sampled] == [
        [one.token_ids for one in group] for group in expected
    ]
    assert sorted(map(len, asked)) == [2, 3]
