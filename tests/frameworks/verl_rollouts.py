"""Runs verl's own agent loop and reward worker with our classes, and writes the rewards.

    python -m tests.frameworks.verl_rollouts MODE FILE

MODE `agent` samples with `SingleTurnAgentLoop` and a scripted server; with `manager`, `RewardLoopWorker` loads our
reward manager from its file, as the config says.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.experimental.reward_loop import RewardLoopWorker
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from tests.frameworks.rollouts import GROUP_SIZE, Dialect, in_each_dialect
from tests.frameworks.tiny_tokenizer import Script, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def config(folder: str) -> Any:
    """The part of verl's config that both use."""
    rollout = {"n": GROUP_SIZE, "val_kwargs": {"n": GROUP_SIZE}, "prompt_length": 512, "response_length": 512}
    manager = {
        "source": "importlib",
        "name": "CohortRewardManager",
        "module": {"path": str(ROOT / "clients" / "ireasoner" / "clients" / "verl_reward.py")},
    }
    return OmegaConf.create(
        {
            "actor_rollout_ref": {"rollout": rollout, "model": {"path": folder, "tokenizer_path": None}},
            "data": {},
            "reward": {
                "custom_reward_function": {"path": None},
                "reward_manager": manager,
                "reward_model": {"enable": False},
            },
        }
    )


class Server:
    """verl's generation server, scripted."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def generate(self, *, prompt_ids: list[int], **_: Any) -> TokenOutput:
        """One continuation."""
        return TokenOutput(token_ids=await self._script.sample(prompt_ids))


async def by_agent(folder: str, dialect: Dialect) -> dict[str, list[list[Any]]]:
    """One agent loop per sample on one event loop, like in verl's worker."""
    from ireasoner.clients.verl_reward import AgreementAgentLoop

    tokenizer = tiny_tokenizer(Path(folder))
    server = Server(Script(tokenizer, dialect.groups))

    async def one(prompt: str) -> list[Any]:
        loop = AgreementAgentLoop(
            DictConfigWrap(config(folder)),
            server,
            tokenizer,
            None,
            RLHFDataset,
            DictConfigWrap(config(folder).data),
        )
        messages = [{"role": "user", "content": prompt}]
        output = await loop.run({}, raw_prompt=messages, uid=f"uid {prompt}")
        text = tokenizer.decode(output.response_ids, skip_special_tokens=True)
        return [text, output.reward_score, output.extra_fields["reward_extra_info"]]

    samples = {prompt: [one(prompt) for _ in texts] for prompt, texts in dialect.groups.items()}
    done = await asyncio.gather(*(asyncio.gather(*each) for each in samples.values()))
    return dict(zip(samples, map(list, done), strict=True))


def row(tokenizer: Any, prompt: str, text: str) -> DataProto:
    """One sample as verl's agent loop passes it to a reward worker: padded on the right."""
    prompts = torch.tensor([tokenizer(prompt)["input_ids"]])
    tokens = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
    padded = torch.nn.functional.pad(tokens, (0, 7), value=tokenizer.pad_token_id)
    mask = torch.cat(
        [torch.ones_like(prompts), (torch.arange(padded.shape[1]) < tokens.shape[1])[None].long()], 1
    )
    batch = TensorDict({"prompts": prompts, "responses": padded, "attention_mask": mask}, batch_size=1)
    return DataProto(batch=batch, non_tensor_batch={"uid": np.array([f"uid {prompt}"], dtype=object)})


async def by_manager(folder: str, dialect: Dialect) -> dict[str, list[list[Any]]]:
    """Two reward workers that share the samples of each prompt."""
    tokenizer = tiny_tokenizer(Path(folder))
    workers = [RewardLoopWorker(config(folder)) for _ in range(2)]
    calls = [
        workers[index % 2].compute_score(row(tokenizer, prompt, text))
        for prompt, texts in dialect.groups.items()
        for index, text in enumerate(texts)
    ]
    results = await asyncio.gather(*calls)
    got: dict[str, list[list[Any]]] = {}
    for number, (prompt, texts) in enumerate(dialect.groups.items()):
        done = results[number * GROUP_SIZE : (number + 1) * GROUP_SIZE]
        got[prompt] = [
            [text, each["reward_score"], each["reward_extra_info"]]
            for text, each in zip(texts, done, strict=True)
        ]
    return got


if __name__ == "__main__":
    run = {"agent": by_agent, "manager": by_manager}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as temporary:
        done = in_each_dialect(lambda dialect: asyncio.run(run(temporary, dialect)))
    Path(sys.argv[2]).write_text(json.dumps(done))
