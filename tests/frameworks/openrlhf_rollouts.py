"""Runs OpenRLHF's own agent executors with a stand-in for its engine, and writes the rewards that they got.

    python -m tests.frameworks.openrlhf_rollouts MODE URL FILE

With MODE `url` OpenRLHF posts to the cohort endpoint; with `agent` it loads our executor. Only
`openrlhf/utils/agent.py` is loaded, with a stand-in for its logger, which would need more packages.
"""

import asyncio
import importlib.util
import json
import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

GROUP_SIZE = 6
SPECIAL = {1: "<s>", 2: "<|im_end|>"}
LATE_S = 3.0


class Ids(list[int]):
    """A row of a tensor, with the one method that OpenRLHF uses."""

    def tolist(self) -> list[int]:
        """The ids as a list."""
        return list(self)


class Tokenizer:
    """One token per character, after a special token."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[Ids]]:
        return {"input_ids": [Ids([1, *map(ord, text)])]}

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        """The text, with or without special tokens."""
        special = {} if not skip_special_tokens else dict.fromkeys(SPECIAL, "")
        return "".join({**SPECIAL, **special}.get(token, chr(token)) for token in tokens)


class Engine:
    """Returns the next text of a prompt after a delay, which is longest for the last one.

    The first six texts of a prompt end in reverse order, then the next six.
    """

    def __init__(self, texts: dict[str, list[str]], late_s: float) -> None:
        self._texts = {prompt: list(each) for prompt, each in texts.items()}
        self._counts = {prompt: len(each) for prompt, each in texts.items()}
        self._late_s = late_s

    async def generate(self, tokens: list[int], *_: Any, **__: Any) -> Any:
        """One continuation, in the form of vLLM."""
        prompt = "".join(map(chr, tokens[1:]))
        texts = self._texts[prompt]
        text = texts.pop(0)
        group, member = divmod(self._counts[prompt] - len(texts) - 1, GROUP_SIZE)
        await asyncio.sleep(0.03 * (GROUP_SIZE * (group + 1) - member) if texts else self._late_s)
        output = SimpleNamespace(
            token_ids=[*map(ord, text), 2], text=text, finish_reason="stop", logprobs=None
        )
        return SimpleNamespace(outputs=[output])


def agent_module() -> ModuleType:
    """OpenRLHF's `openrlhf.utils.agent`, without its parent packages."""
    spec = importlib.util.find_spec("openrlhf")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0])
    for name, folder in (("openrlhf", root), ("openrlhf.utils", root / "utils")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    logs: Any = ModuleType("openrlhf.utils.logging_utils")
    logs.init_logger = logging.getLogger
    sys.modules[logs.__name__] = logs
    return importlib.import_module("openrlhf.utils.agent")


def our_executor() -> Any:
    """Our executor, loaded from its file like `--train.agent_func_path`."""
    file = Path(__file__).resolve().parents[2] / "clients" / "ireasoner" / "clients" / "openrlhf_reward.py"
    spec = importlib.util.spec_from_file_location("agent_module", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.AgentExecutor()


async def rollouts(executor: Any, texts: dict[str, list[str]], late_s: float) -> dict[str, list[Any]]:
    """Samples all texts of all prompts at once, as OpenRLHF's engine actors do."""
    engine = Engine(texts, late_s)
    parameters = SimpleNamespace(max_tokens=64, logprobs=None)

    async def of(prompt: str, count: int) -> list[Any]:
        calls = [
            executor.execute(
                prompt=prompt,
                label="4",
                sampling_params=parameters,
                max_length=4096,
                hf_tokenizer=Tokenizer(),
                llm_engine=engine,
                images=None,
            )
            for _ in range(count)
        ]
        return list(await asyncio.gather(*calls))

    outputs = await asyncio.gather(*(of(prompt, len(each)) for prompt, each in texts.items()))
    names = ("reward", "scores", "extra_logs")
    return {
        prompt: [{name: output[name] for name in names} for output in each]
        for prompt, each in zip(texts, outputs, strict=True)
    }


def main(mode: str, url: str, file: str) -> None:
    """Reads the texts from FILE and writes the rewards beside them."""
    logging.basicConfig(level=logging.INFO)
    agent = agent_module()
    executor = agent.SingleTurnAgentExecutor(url) if mode == "url" else our_executor()
    texts = json.loads(Path(file).read_text())
    late_s = LATE_S if "late" in file else 0.3
    Path(f"{file}.out").write_text(json.dumps(asyncio.run(rollouts(executor, texts, late_s))))


if __name__ == "__main__":
    main(*sys.argv[1:])
