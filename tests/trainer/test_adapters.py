"""Publication: vLLM serves the adapter that was just trained under its new name."""

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from PIL import Image

from ireasoner.trainer.adapters import publisher as adapters
from ireasoner.trainer.adapters.backbone import (
    load_backbone,
    load_processor,
    lora_config,
    name_roles,
    placeholder_token_ids,
)
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.adapters.publisher import AdapterPublisher, write_adapter
from ireasoner.trainer.errors import AdapterError, CanaryError, RolloutServerError
from ireasoner.trainer.images import png_bytes, read_image
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import LoraSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL

QUESTION = "What is the sum of row 2?"
LOGPROB_TOLERANCE = 1e-3
"""Nats per token: float32 on both sides, with different kernels."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def policy() -> Any:
    """The tiny model with both adapters, which start as the base model."""
    from peft import get_peft_model

    backbone = load_backbone(str(MODEL), "float32").eval()
    config = lora_config(backbone, LoraSettings(r=8, alpha=16, dropout=0.0))
    policy = get_peft_model(backbone, config)
    name_roles(policy, config)
    return policy.eval()


@pytest.fixture
def image(tmp_path: Path) -> Image.Image:
    write_unlabelled(tmp_path / "images", 1, seed=7)
    return read_image(next((tmp_path / "images").iterdir()))


@pytest.fixture
def client(rollout_url: str) -> Iterator[RolloutClient]:
    client = RolloutClient(rollout_url, retry_budget_s=5)
    yield client
    client.close()


def disturb(policy: Any, role: str, seed: int) -> None:
    """Gives one role's adapter random weights, large enough to change its output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in policy.named_parameters():
        if f".{role}." in name:
            parameter.data = 0.15 * torch.randn(parameter.shape, generator=generator)


def greedy(policy: Any, image: Image.Image, max_tokens: int) -> tuple[list[int], list[float]]:
    """The greedy token ids and their log-probabilities by transformers, placeholders excluded as in vLLM."""
    processor = load_processor(str(MODEL))
    text = processor.apply_chat_template(
        solver_messages(QUESTION), tokenize=False, add_generation_prompt=True
    )
    inputs = processor(images=[image], text=[text], return_tensors="pt")
    with torch.no_grad():
        output = policy.generate(
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            suppress_tokens=list(placeholder_token_ids(policy.config)),
            return_dict_in_generate=True,
            output_scores=True,
        )
    ids = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    logprobs = [float(s[0].log_softmax(-1)[i]) for s, i in zip(output.scores, ids, strict=True)]
    return ids, logprobs


@pytest.mark.vllm
def test_vllm_serves_each_of_two_consecutive_versions(
    policy: Any, image: Image.Image, client: RolloutClient, tmp_path: Path
) -> None:
    """Under an old name, new weights would be served from the prefix cache of the old ones."""
    publisher = AdapterPublisher(client, tmp_path, prefix="twice-")
    contract = SamplingContract(24, temperature=0.0, forbidden_token_ids=placeholder_token_ids(policy.config))
    request = RolloutRequest(solver_messages(QUESTION), png_bytes(image), 1, 0)
    policy.set_adapter("solver")
    said = []
    for version in (1, 2):
        disturb(policy, "solver", seed=version)
        name = publisher.publish(policy, "solver", version)
        assert name == f"twice-solver-{version:06d}"
        expected_ids, expected_logprobs = greedy(policy, image, contract.max_tokens)
        for _ in range(2):  # cold, then from the prefix cache
            [[rollout]] = client.sample(name, [request], contract)
            assert list(rollout.token_ids) == expected_ids
            assert list(rollout.logprobs) == pytest.approx(expected_logprobs, abs=LOGPROB_TOLERANCE)
        said.append(expected_ids)
    assert said[0] != said[1], "the test needs two versions that differ"
    assert "twice-solver-000001" not in client.models()
    assert [path.name for path in tmp_path.glob("twice-*")] == ["twice-solver-000002"]
    publisher.withdraw()
    assert not [name for name in client.models() if name.startswith("twice-")]


@pytest.mark.vllm
def test_a_fresh_adapter_is_the_base_model(
    policy: Any, image: Image.Image, client: RolloutClient, tmp_path: Path
) -> None:
    publisher = AdapterPublisher(client, tmp_path, prefix="fresh-")
    name = publisher.publish(policy, "proposer", 0)
    contract = SamplingContract(24, temperature=0.0)
    request = RolloutRequest(solver_messages(QUESTION), png_bytes(image), 1, 0)
    [[adapted]] = client.sample(name, [request], contract)
    [[base]] = client.sample(client.models()[0], [request], contract)
    assert adapted.token_ids == base.token_ids
    publisher.withdraw()


@pytest.mark.vllm
def test_equal_seeds_sample_equal_rollouts_and_a_group_differs(
    image: Image.Image, client: RolloutClient, policy: Any
) -> None:
    contract = SamplingContract(40, forbidden_token_ids=placeholder_token_ids(policy.config))
    request = RolloutRequest(solver_messages(QUESTION), png_bytes(image), 8, 1234)
    base = client.models()[0]
    [first] = client.sample(base, [request], contract)
    [again] = client.sample(base, [request], contract)
    assert [rollout.token_ids for rollout in first] == [rollout.token_ids for rollout in again]
    assert len({rollout.token_ids for rollout in first}) > 1
    assert client.texts(base, [request], contract) == [[rollout.text for rollout in first]]


@pytest.mark.vllm
def test_an_unknown_policy_is_refused_at_once(image: Image.Image, client: RolloutClient) -> None:
    request = RolloutRequest(solver_messages(QUESTION), png_bytes(image), 1, 0)
    with pytest.raises(RolloutServerError, match="404"):
        client.sample("solver-999999", [request], SamplingContract(4))


def test_an_adapter_outside_the_language_model_is_refused(tmp_path: Path) -> None:
    """vLLM would ignore it, and sample from another policy than the trained one."""
    from peft import LoraConfig, get_peft_model

    backbone = load_backbone(str(MODEL), "float32")
    names = [name for name, m in backbone.named_modules() if "visual" in name and name.endswith("attn.qkv")]
    assert names
    policy = get_peft_model(backbone, LoraConfig(r=2, target_modules=names), adapter_name="solver")
    with pytest.raises(AdapterError, match="outside the language model"):
        write_adapter(policy, "solver", tmp_path / "solver-000000")
    assert not (tmp_path / "solver-000000").exists()


def test_targets_are_layers_of_the_language_model_only() -> None:
    backbone = load_backbone(str(MODEL), "float32")
    config = lora_config(backbone, LoraSettings())
    assert config.target_modules
    assert all(".language_model." in f".{name}" for name in config.target_modules)


def test_an_unreachable_server_is_retried_within_the_budget() -> None:
    said: list[str] = []
    client = RolloutClient("http://127.0.0.1:9", retry_budget_s=3.0, on_wait=said.append)
    with pytest.raises(RolloutServerError, match="after 3 s of retries"):
        client.models()
    client.close()
    assert said


class StaleServer:
    """A rollout client whose server serves the first weights that it read under every name.

    vLLM does so if new weights are loaded under an old name: see `ireasoner.trainer.adapters.publisher`.
    """

    def __init__(self, client: RolloutClient) -> None:
        self._client = client
        self._first: str | None = None

    def load_adapter(self, name: str, path: str) -> None:
        if self._first is None:
            self._first = shutil.copytree(path, f"{path}-first")
        self._client.load_adapter(name, self._first)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def published_with_canary(policy: Any, image: Image.Image, client: Any, folder: Path) -> AdapterPublisher:
    """A publisher with a float32 canary, which has published one version of the Solver."""
    canary = Canary(
        client,
        load_processor(str(MODEL)),
        image,
        forbidden_token_ids=placeholder_token_ids(policy.config),
        tolerance_nats=LOGPROB_TOLERANCE,
    )
    publisher = AdapterPublisher(client, folder, prefix=f"{folder.name}-", canary=canary)
    disturb(policy, "solver", seed=1)
    policy.train()
    publisher.publish(policy, "solver", 1)
    disturb(policy, "solver", seed=2)
    return publisher


@pytest.mark.vllm
def test_the_canary_accepts_the_published_version(
    policy: Any, image: Image.Image, client: RolloutClient, tmp_path: Path
) -> None:
    policy.set_adapter("proposer")
    publisher = published_with_canary(policy, image, client, tmp_path)
    name = publisher.publish(policy, "solver", 2)
    assert publisher.served("solver") == name
    assert adapters.version(name) == 2
    assert policy.training
    assert policy.active_adapter == "proposer", "the trainer's policy is unchanged"
    publisher.withdraw()


@pytest.mark.parametrize(
    ("dtype", "below", "is_found"),
    [
        (torch.bfloat16, 0.125, False),
        (torch.bfloat16, 0.5, True),
        (torch.float32, 0.125, True),
        (torch.float32, 0.05, False),
    ],
)
def test_the_canary_allows_for_the_rounding_of_the_trainers_precision(
    policy: Any, image: Image.Image, dtype: torch.dtype, below: float, is_found: bool
) -> None:
    """Its server chooses the second of two tokens whose logits are 20 and, one step of bfloat16 less, 19.875."""
    first, second = 5, 6
    logits = torch.zeros(1, 5, 443)  # in float32, as accelerate gives them, whatever the model computes in
    logits[..., first], logits[..., second] = 20.0, 20.0 - below
    policy.to(dtype)
    policy.register_forward_hook(lambda *_: SimpleNamespace(logits=logits))
    logprob = logits[0, 0].log_softmax(-1)[second].item()

    class Server:
        base_url = "http://server"
        members = property(lambda self: [self])

        def engines(self) -> int:
            return 1

        def sample(self, *_: Any) -> list[list[Rollout]]:
            return [[Rollout("", (second,) * 4, (logprob,) * 4, prompt, "length", "solver-000001", 0)]]

    processor = load_processor(str(MODEL))
    canary = Canary(
        cast("RolloutClient", Server()), processor, image, forbidden_token_ids=(), tolerance_nats=0.1
    )
    prompt = tuple(canary._inputs["input_ids"][0].tolist())
    with pytest.raises(CanaryError) if is_found else nullcontext():
        assert canary.check(policy, "solver", "solver-000001") == pytest.approx(0, abs=1e-6)


@pytest.mark.vllm
def test_the_canary_finds_a_server_that_serves_older_weights(
    policy: Any, image: Image.Image, client: RolloutClient, tmp_path: Path
) -> None:
    publisher = published_with_canary(policy, image, StaleServer(client), tmp_path)
    with pytest.raises(CanaryError, match="as it was trained"):
        publisher.publish(policy, "solver", 2)
    for name in client.models()[1:]:
        client.unload_adapter(name)


@pytest.mark.vllm
def test_the_canary_checks_every_nth_version(
    policy: Any, image: Image.Image, client: RolloutClient, tmp_path: Path
) -> None:
    """Of three publications, the first and the third are checked."""
    checked: list[str] = []

    class Silent(Canary):
        def check(self, policy: Any, role: Any, name: str, *_: Any) -> float:
            checked.append(name)
            return 0.0

    canary = Silent(client, load_processor(str(MODEL)), image, forbidden_token_ids=(), tolerance_nats=1e-3)
    publisher = AdapterPublisher(client, tmp_path, prefix="often-", canary=canary, canary_every=2)
    for version in range(3):
        publisher.publish(policy, "solver", version)
    publisher.withdraw()
    assert checked == ["often-solver-000000", "often-solver-000002"]


def test_an_adapter_whose_rank_is_not_its_configs_is_refused(policy: Any, tmp_path: Path) -> None:
    policy.peft_config["solver"].r = 4
    with pytest.raises(AdapterError, match="has rank 4 in its config"):
        write_adapter(policy, "solver", tmp_path / "solver-000000")


def test_an_adapter_without_a_layer_of_its_config_is_refused(policy: Any, tmp_path: Path) -> None:
    policy.peft_config["solver"].target_modules = {"q_proj", "absent_proj"}
    with pytest.raises(AdapterError, match="has absent_proj in its config"):
        write_adapter(policy, "solver", tmp_path / "solver-000000")
    assert not (tmp_path / "solver-000000").exists()
