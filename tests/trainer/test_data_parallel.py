"""One real rollout server with two engines: vLLM's own data parallelism."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ireasoner.trainer.adapters.backbone import placeholder_token_ids
from ireasoner.trainer.errors import CanaryError, RolloutServerError
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from tests.conftest import MODEL
from tests.rollout_server.running import running_server
from tests.trainer.test_adapters import (
    LOGPROB_TOLERANCE,
    QUESTION,
    greedy,
    image,
    policy,
    published_with_canary,
)

__all__ = ["image", "policy"]  # fixtures

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

ENGINES = 2


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("data_parallel") / "log.txt"
    flags = ["--warm-up", "text", "--data-parallel-size", str(ENGINES)]
    with running_server(MODEL, log, *flags, env={"OMP_NUM_THREADS": "1"}) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator[RolloutClient]:
    client = RolloutClient(url, retry_budget_s=5)
    yield client
    client.close()


class OneStaleEngine(RolloutClient):
    """A server whose last engine keeps serving the previous version."""

    def sample(self, policy: str, requests: Any, contract: Any, engine: int | None = None) -> Any:
        older = next((name for name in self.models()[1:] if name != policy), policy)
        return super().sample(older if engine == ENGINES - 1 else policy, requests, contract, engine)


def finished(url: str) -> list[float]:
    """The number of requests that each engine has finished."""
    counts = [0.0] * ENGINES
    page = httpx.get(f"{url}/metrics").text
    for engine, count in re.findall(r'^vllm:request_success_total\{engine="(\d+)".*\} (\S+)$', page, re.M):
        counts[int(engine)] += float(count)
    return counts


def test_every_engine_serves_each_version_and_takes_its_share(
    policy: Any, image: Image.Image, client: RolloutClient, tmp_path: Path
) -> None:
    policy.set_adapter("solver")
    assert client.engines() == ENGINES
    publisher = published_with_canary(policy, image, client, tmp_path)
    name = publisher.publish(policy, "solver", 2)
    contract = SamplingContract(12, temperature=0.0, forbidden_token_ids=placeholder_token_ids(policy.config))
    request = RolloutRequest(solver_messages(QUESTION), png_bytes(image), 1, 0)
    expected_ids, expected_logprobs = greedy(policy.eval(), image, contract.max_tokens)
    addressed = [client.sample(name, [request], contract, engine)[0][0] for engine in range(ENGINES)]
    before = finished(client.base_url)
    dealt_out = [rollout for [rollout] in client.sample(name, [request] * 8, contract)]
    after = finished(client.base_url)
    for rollout in addressed + dealt_out:
        assert list(rollout.token_ids) == expected_ids
        assert list(rollout.logprobs) == pytest.approx(expected_logprobs, abs=LOGPROB_TOLERANCE)
    assert all(count > earlier for count, earlier in zip(after, before, strict=True))
    publisher.withdraw()


def test_one_engine_that_serves_older_weights_is_found(
    policy: Any, image: Image.Image, url: str, tmp_path: Path
) -> None:
    client = OneStaleEngine(url, retry_budget_s=5)
    publisher = published_with_canary(policy, image, client, tmp_path)
    with pytest.raises(CanaryError, match=rf"{url} \(engine {ENGINES - 1}\) does not serve "):
        publisher.publish(policy, "solver", 2)
    for name in client.models()[1:]:
        client.unload_adapter(name)
    client.close()


def test_a_server_whose_metrics_name_no_engine_is_an_error(reward_url: str) -> None:
    client = RolloutClient(reward_url, retry_budget_s=5)
    with pytest.raises(RolloutServerError, match="names no vLLM engine"):
        client.engines()
    client.close()
