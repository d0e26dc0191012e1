"""Runs SkyRL's own generator through our class, with a scripted engine, and writes the rewards.

python -m tests.frameworks.skyrl_generation FILE
"""

import asyncio
import json
import os
import re
import sys
import typing
from pathlib import Path
from typing import Any

import typing_extensions

if sys.version_info < (3, 12):
    typing.TypedDict = typing_extensions.TypedDict  # skyrl's pydantic models require it before Python 3.12

from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.generators.base import TrajectoryID
from skyrl.train.utils.trainer_utils import validate_generator_output

from tests.frameworks.rollouts import DIALECTS, GROUP_SIZE, Dialect, Groups
from tests.frameworks.tiny_tokenizer import Script, tiny_tokenizer


class Engine:
    """SkyRL's inference client, scripted."""

    model_name = "scripted"

    def __init__(self, tokenizer: Any, groups: Groups) -> None:
        self.models: set[str] = set()
        self._tokenizer = tokenizer
        self._script = Script(tokenizer, groups)

    async def generate(self, engine_input: Any, model: str) -> dict[str, Any]:
        """One continuation per prompt."""
        self.models.add(model)
        ids = [await self._script.sample(prompt) for prompt in engine_input["prompt_token_ids"]]
        return {
            "responses": [self._tokenizer.decode(each, skip_special_tokens=True) for each in ids],
            "response_ids": ids,
            "stop_reasons": ["stop"] * len(ids),
            "response_logprobs": None,
        }

    async def finish_session(self, session_id: str) -> None:
        """SkyRL calls this when a trajectory has ended."""


def experiment(dialect: Dialect) -> Any:
    """The experiment of our page, with the server of this test and the config of a dialect."""
    page = Path(__file__).resolve().parents[2] / "docs" / "frameworks" / "skyrl.md"
    [block] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for shown, used in (
        ("http://127.0.0.1:8010", os.environ["IREASONER_REWARD_URL"]),
        ("robust", dialect.config),
    ):
        assert block.count(f'"{shown}"') == 1
        block = block.replace(f'"{shown}"', repr(used))
    defined: dict[str, Any] = {}
    exec(block, defined)
    made = defined["AgreementExp"]
    return made.__new__(made)


async def generate(dialect: Dialect, batched: bool) -> dict[str, list[Any]]:
    """Generates all prompts at once, with interleaved trajectories."""
    tokenizer = tiny_tokenizer()
    config = SkyRLTrainConfig()
    config.trainer.policy.model.path = "a policy"
    settings = config.generator
    settings.batched, settings.max_turns, settings.use_conversation_multi_turn = batched, 1, not batched
    settings.sampling_params.logprobs = None
    settings.use_cache_salt = False
    settings.max_input_length = 512
    engine = Engine(tokenizer, dialect.groups)
    generator = experiment(dialect).get_generator(config, tokenizer, engine)
    order = [(prompt, number) for number in range(GROUP_SIZE) for prompt in dialect.groups]
    batch: Any = {
        "prompts": [[{"role": "user", "content": prompt}] for prompt, _ in order],
        "env_classes": ["gsm8k"] * len(order),
        "env_extras": [{"reward_spec": {"method": "rule", "ground_truth": "7"}} for _ in order],
        "trajectory_ids": [TrajectoryID(prompt, number) for prompt, number in order],
        "sampling_params": None,
    }
    output = await generator.generate(batch, disable_tqdm=True)
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in output["response_ids"]]
    got: dict[str, list[Any]] = {prompt: [] for prompt in dialect.groups}
    for (prompt, _), text, reward in zip(order, texts, output["rewards"], strict=True):
        got[prompt].append([text, sum(reward) if isinstance(reward, list) else reward])
    assert "agreement/outcome" in output["rollout_metrics"]
    assert engine.models == {"a policy"}
    validate_generator_output(len(order), output)
    assert isinstance(output["rewards"][0], float if batched else list)
    return got


if __name__ == "__main__":
    done = {
        name: [asyncio.run(generate(dialect, batched)) for batched in (True, False)]
        for name, dialect in DIALECTS.items()
    }
    Path(sys.argv[1]).write_text(json.dumps(done))
