"""What the trainer relies on, tested with the real vLLM: tokens, log-probabilities, masks, adapters."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from tests.random_policy import build_adapter
from tests.rollout_server.running import RunningServer, left_running, running_server
from tests.traps import write_traps

pytestmark = pytest.mark.vllm

IMAGE_SIDE_PX = 84
IMAGE_TOKENS = 9  # one per 28 x 28 pixels
# Between two float32 implementations of the same network; ours differ by up to 2e-5.
TOLERANCE_NATS = 2e-4


@pytest.fixture(scope="module")
def rollout_server(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The real vLLM serving `policy`, started in a folder that spoils imports.

    When its tests are done it must exit with 0 and leave neither a process nor a socket behind.
    """
    log = tmp_path_factory.mktemp("rollout_server") / "log.txt"
    current = write_traps(tmp_path_factory.mktemp("current"))
    with (
        TemporaryDirectory() as temporary,  # with a path that is short enough for sockets
        running_server(policy, log, env={"TMPDIR": temporary}, cwd=current) as server,
    ):
        yield server
        pids = [process.pid for process in server.processes()]
        assert any(path.is_socket() for path in Path(temporary).rglob("*"))
        assert server.stop() == 0, server.log.read_text()
        assert not left_running(pids)
        assert not [path for path in Path(temporary).rglob("*") if path.is_socket()]


def image(seed: int) -> Any:
    """Grey noise, different for each seed."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (IMAGE_SIDE_PX, IMAGE_SIDE_PX), dtype=np.uint8)
    return Image.fromarray(pixels).convert("RGB")


def complete(server: RunningServer, **fields: Any) -> dict[str, Any]:
    """A chat completion about `image(0)` with token ids and log-probabilities."""
    png = io.BytesIO()
    image(0).save(png, "PNG")
    url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is this?"}]
    request = {
        "model": server.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 16,
        "temperature": 1.0,
        "logprobs": True,
        "return_token_ids": True,
        **fields,
    }
    response = httpx.post(f"{server.url}/v1/chat/completions", json=request, timeout=60)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


def logprobs(choice: dict[str, Any]) -> list[float]:
    return [token["logprob"] for token in choice["logprobs"]["content"]]


def load(server: RunningServer, adapter: Path) -> None:
    named = {"lora_name": adapter.name, "lora_path": str(adapter)}
    httpx.post(f"{server.url}/v1/load_lora_adapter", json=named, timeout=60).raise_for_status()


def unload(server: RunningServer, adapter: Path) -> None:
    named = {"lora_name": adapter.name}
    httpx.post(f"{server.url}/v1/unload_lora_adapter", json=named, timeout=60).raise_for_status()


@pytest.fixture(scope="session")
def token_ids(policy: Path) -> dict[str, int]:
    """The ids of the special tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy)
    return {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}


def in_transformers(policy: Path, adapter: Path | None, prompt: list[int], completion: list[int]) -> Any:
    """(T, V) log-probabilities that transformers computes at each completion token, about `image(0)`."""
    import torch
    from peft import PeftModel
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    processor = AutoProcessor.from_pretrained(policy)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(policy, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    inputs = processor(images=[image(0)], text=[text], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == prompt
    ids = torch.tensor([prompt + completion])
    is_image = torch.zeros_like(ids)
    is_image[:, : len(prompt)] = inputs["mm_token_type_ids"]
    with torch.no_grad():
        logits = model.eval()(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=is_image,
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
        ).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def test_the_server_is_ready_only_after_the_warm_up(rollout_server: RunningServer) -> None:
    served = [
        float(line.rsplit(" ", 1)[1])
        for line in rollout_server.metrics_at_readiness.splitlines()
        if line.startswith("vllm:request_success_total")
    ]
    assert sum(served) >= 2


def test_a_group_comes_with_token_ids_and_logprobs(
    rollout_server: RunningServer, token_ids: dict[str, int]
) -> None:
    body = complete(rollout_server, n=5, seed=3)
    assert body["prompt_token_ids"].count(token_ids["<|image_pad|>"]) == IMAGE_TOKENS
    assert [choice["index"] for choice in body["choices"]] == list(range(5))
    for choice in body["choices"]:
        assert len(choice["token_ids"]) == len(logprobs(choice)) > 0
        assert all(logprob <= 0 for logprob in logprobs(choice))
    assert len({tuple(choice["token_ids"]) for choice in body["choices"]}) == 5


def test_the_end_of_sequence_token_is_among_the_ids(
    rollout_server: RunningServer, token_ids: dict[str, int]
) -> None:
    [choice] = complete(rollout_server, logit_bias={str(token_ids["<|im_end|>"]): 100})["choices"]
    assert (choice["finish_reason"], choice["token_ids"]) == ("stop", [token_ids["<|im_end|>"]])


def test_sample_i_of_a_group_has_the_seed_plus_i(rollout_server: RunningServer) -> None:
    group = [choice["token_ids"] for choice in complete(rollout_server, n=3, seed=40)["choices"]]
    alone = [complete(rollout_server, seed=40 + i)["choices"][0]["token_ids"] for i in range(3)]
    assert group == alone


def test_placeholders_can_be_masked(rollout_server: RunningServer, token_ids: dict[str, int]) -> None:
    pad = token_ids["<|image_pad|>"]
    pushed = complete(rollout_server, logit_bias={str(pad): 100})["choices"][0]["token_ids"]
    assert set(pushed) == {pad}
    banned = complete(rollout_server, logit_bias={str(pad): 100}, bad_words=["<|image_pad|>"], n=5)
    assert not [choice for choice in banned["choices"] if pad in choice["token_ids"]]


def test_logprobs_are_those_of_the_sampled_distribution(rollout_server: RunningServer, policy: Path) -> None:
    import torch

    body = complete(rollout_server, temperature=0.5)
    [choice] = body["choices"]
    expected = in_transformers(policy, None, body["prompt_token_ids"], choice["token_ids"])
    at_half = (expected / 0.5).log_softmax(-1)
    sampled = at_half[range(len(choice["token_ids"])), choice["token_ids"]]
    torch.testing.assert_close(torch.tensor(logprobs(choice)), sampled, rtol=0, atol=TOLERANCE_NATS)


def test_each_version_of_an_adapter_computes_what_transformers_does(
    rollout_server: RunningServer, policy: Path, tmp_path: Path
) -> None:
    import torch

    before: Path | None = None
    for version in range(4):  # more than one batch can use
        adapter = build_adapter(policy, tmp_path / f"serving-{version:06d}", seed=version)
        load(rollout_server, adapter)
        if before is not None:
            unload(rollout_server, before)
        body = complete(rollout_server, model=adapter.name, n=2, seed=version)
        for choice in body["choices"]:
            ids = choice["token_ids"]
            ours = torch.tensor(logprobs(choice))
            expected = in_transformers(policy, adapter, body["prompt_token_ids"], ids)[range(len(ids)), ids]
            torch.testing.assert_close(ours, expected, rtol=0, atol=TOLERANCE_NATS)
            other = in_transformers(policy, before, body["prompt_token_ids"], ids)[range(len(ids)), ids]
            assert (ours - other).abs().max() > 100 * TOLERANCE_NATS
        before = adapter
    assert before is not None
    unload(rollout_server, before)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        complete(rollout_server, model=before.name)


def test_the_base_model_is_unchanged_in_a_batch_with_adapters(
    rollout_server: RunningServer, policy: Path, tmp_path: Path
) -> None:
    adapters = [build_adapter(policy, tmp_path / f"company-{seed:06d}", seed=seed) for seed in range(2)]
    for adapter in adapters:
        load(rollout_server, adapter)
    models = [rollout_server.model, adapters[0].name, rollout_server.model, adapters[1].name] * 2
    alone = {model: complete(rollout_server, model=model, temperature=0.0) for model in set(models)}
    with ThreadPoolExecutor(len(models)) as pool:
        together = list(
            pool.map(lambda model: complete(rollout_server, model=model, temperature=0.0), models)
        )
    for model, body in zip(models, together, strict=True):
        [expected], [answered] = alone[model]["choices"], body["choices"]
        assert answered["token_ids"] == expected["token_ids"]
        assert logprobs(answered) == pytest.approx(logprobs(expected), abs=TOLERANCE_NATS)
    for adapter in adapters:
        unload(rollout_server, adapter)
