"""Runs AReaL's own grouped workflow over our class, with a scripted engine, and writes the rewards.

python -m tests.frameworks.areal_episodes FILE
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from areal.api import ModelResponse
from areal.api.cli_args import GenerationHyperparameters
from areal.infra.remote_inf_engine import GroupedRolloutWorkflow

from ireasoner.clients.areal_reward import AgreementWorkflow
from tests.frameworks.rollouts import DIALECTS, GROUP_SIZE, Dialect, Groups
from tests.frameworks.tiny_tokenizer import Script, tiny_tokenizer


class Engine:
    """AReaL's inference engine, scripted."""

    def __init__(self, tokenizer: Any, groups: Groups) -> None:
        self._script = Script(tokenizer, groups)

    async def agenerate(self, request: Any) -> ModelResponse:
        """One continuation."""
        tokens = await self._script.sample(request.input_ids)
        count = len(tokens)
        return ModelResponse(
            input_tokens=request.input_ids,
            output_tokens=tokens,
            output_logprobs=[0.0] * count,
            output_versions=[0] * count,
        )


async def episodes(dialect: Dialect) -> dict[str, list[Any]]:
    """All groups at once."""
    tokenizer = tiny_tokenizer()
    workflow = AgreementWorkflow(GenerationHyperparameters(), tokenizer, reward_config=dialect.config)
    grouped = GroupedRolloutWorkflow(workflow, GROUP_SIZE, logging.getLogger("areal"))
    engine = Engine(tokenizer, dialect.groups)
    data = [{"messages": [{"role": "user", "content": prompt}]} for prompt in dialect.groups]
    results = await asyncio.gather(*(grouped.arun_episode(engine, each) for each in data))
    got = {}
    for prompt, result in zip(dialect.groups, results, strict=True):
        rows = zip(result["input_ids"], result["loss_mask"], result["rewards"], strict=True)
        got[prompt] = [
            [tokenizer.decode(ids[mask.bool()], skip_special_tokens=True), float(reward)]
            for ids, mask, reward in rows
        ]
    return got


if __name__ == "__main__":
    done = {name: asyncio.run(episodes(dialect)) for name, dialect in DIALECTS.items()}
    Path(sys.argv[1]).write_text(json.dumps(done))
