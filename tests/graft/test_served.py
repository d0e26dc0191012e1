"""The real vLLM serves a grafted checkpoint as transformers computes it."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import random_grids
from tests.rollout_server.running import running_server

TOLERANCE_NATS = 2e-4  # as between two float32 implementations of the same network


@pytest.mark.vllm
@pytest.mark.slow
def test_served_tokens_have_the_log_probabilities_of_transformers(
    seeing_folder: Path, tmp_path: Path
) -> None:
    model, processor = load_backbone(str(seeing_folder), "float32").eval(), load_processor(str(seeing_folder))
    messages = solver_messages("What is the sum of row 2?")
    [grid] = random_grids(load_digits_part("held-out"), 1, seed=0)
    with running_server(seeing_folder, tmp_path / "log.txt") as server:
        url = f"data:image/png;base64,{base64.b64encode(png_bytes(grid.image)).decode()}"
        text = messages[0]["content"][1]
        request: dict[str, Any] = {
            "model": server.model,
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, text]}
            ],
            "max_tokens": 8,
            "temperature": 0.0,
            "logprobs": True,
            "return_token_ids": True,
        }
        response = httpx.post(f"{server.url}/v1/chat/completions", json=request, timeout=120)
        response.raise_for_status()
        [choice] = response.json()["choices"]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = dict(processor(text=[prompt], images=[grid.image], return_tensors="pt"))
    completion = torch.tensor([choice["token_ids"]])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], completion], dim=1)
    for name in ("attention_mask", "mm_token_type_ids"):
        filler = torch.full_like(completion, int(name == "attention_mask"))
        inputs[name] = torch.cat([inputs[name], filler], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, -completion.size(1) - 1 : -1]
    expected = logits.log_softmax(dim=-1).gather(1, completion.T).flatten()
    served = torch.tensor([token["logprob"] for token in choice["logprobs"]["content"]])
    assert torch.allclose(served, expected, atol=TOLERANCE_NATS)
    assert torch.equal(logits.argmax(dim=-1), completion[0])
