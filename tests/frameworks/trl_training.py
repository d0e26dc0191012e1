"""Runs TRL's real GRPOTrainer in separate processes, and writes the inputs and results of its reward function.

    python -m tests.frameworks.trl_training URL FOLDER

TRL is imported once, and each run is a fork. The policy is a random model whose every token is a whole rollout, so
that its samples have answers, steps and ties.
"""

import asyncio
import inspect
import json
import multiprocessing
import os
import pickle
import signal
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import PartialState, debug_launcher
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from examples import trl_arithmetic
from ireasoner.clients import Config, RewardError
from ireasoner.clients.trl_components import AllJudged
from ireasoner.clients.trl_reward import AsyncGroupReward, GroupReward
from tests.frameworks.rollouts import DIALECTS, GROUPS

GROUP_SIZE = 4
STEPS = 2
REFUSAL_DEADLINE_S = 90
FAULTS_THAT_END = ("refused", "other size", "no server", "unreadable")
ROLLOUTS = {
    name: list(dict.fromkeys(text for texts in dialect.groups.values() for text in texts))
    for name, dialect in DIALECTS.items()
}


class Recording(GroupReward):
    """Writes one line per call: prompts, texts, rewards and the progress."""

    def __init__(self, file: Path, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._file = file
        self.unreadable = False

    def judged(self, prompts: Any, completions: Any, **columns: Any) -> AllJudged:
        return self._record(
            super().judged(prompts, self._given(completions), **columns), prompts, completions, columns
        )

    def _given(self, completions: Any) -> Any:
        return [[number] for number, _ in enumerate(completions)] if self.unreadable else completions

    def _record(
        self, judged: AllJudged, prompts: Any, completions: Any, columns: dict[str, Any]
    ) -> AllJudged:
        state = columns["trainer_state"]
        line = {
            "prompts": [prompt[-1]["content"] for prompt in prompts],
            "texts": [completion[-1]["content"] for completion in completions],
            "rewards": [each and each.reward for each in judged],
            "progress": state.global_step / state.max_steps,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return judged


class AsyncRecording(AsyncGroupReward, Recording):
    """The same on TRL's event loop."""

    async def judged_async(self, prompts: Any, completions: Any, **columns: Any) -> AllJudged:
        judged = await super().judged_async(prompts, self._given(completions), **columns)
        return self._record(judged, prompts, completions, columns)


def policy(dialect: str = "paper") -> tuple[Any, Any]:
    """A random Qwen2 with a vocabulary of whole rollouts, and its tokenizer."""
    special = ["<pad>", "<eos>", "<unk>"]
    words = {word: index for index, word in enumerate([*special, *ROLLOUTS[dialect]])}
    base = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=base, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config), tokenizer


def train(
    url: str,
    folder: str,
    batch_size: int,
    fault: str = "",
    method: str = "GRPO",
    dialect: str = "paper",
    config: Config | None = None,
    kind: type[Recording] = Recording,
    in_parts: bool = False,
) -> None:
    """Two steps of training, with a policy that writes in a dialect.

    If it is `in_parts`, the parts of the reward are reward functions of their own. The fault `no server` gives the
    first rank a wrong address, and `give up` does so where a batch may lack rewards; `unreadable` gives the last rank
    completions that are not messages, and `other size` gives the reward a wrong group size.
    """
    rank = PartialState(cpu=True).process_index
    where = Path(folder)
    where.mkdir(exist_ok=True)
    if fault in ("no server", "give up") and rank == 0:
        os.environ["IREASONER_REWARD_RETRY_BUDGET_S"] = "0.5"
        url = "http://127.0.0.1:9"
    model, tokenizer = policy(dialect)
    reward = kind(
        where / f"rank{rank}.jsonl",
        num_generations=GROUP_SIZE + (fault == "other size"),
        url=url,
        config=config or DIALECTS[dialect].config,
        give_up="none" if fault == "give up" else None,
    )
    reward.unreadable = fault == "unreadable" and rank == 1
    settings, trainer_kind = {"GRPO": (GRPOConfig, GRPOTrainer), "RLOO": (RLOOConfig, RLOOTrainer)}[method]
    arguments = settings(
        output_dir=str(where / "out"),
        max_steps=STEPS,
        num_generations=GROUP_SIZE,
        per_device_train_batch_size=batch_size,
        max_completion_length=1,
        learning_rate=0.1,
        beta=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        **({"multi_objective_aggregation": "normalize_then_sum"} if in_parts else {}),
    )
    questions = [{"prompt": [{"role": "user", "content": f"question {number}"}]} for number in range(8)]
    before = [parameter.clone() for parameter in model.parameters()]
    trainer = trainer_kind(
        model=model,
        reward_funcs=reward.components() if in_parts else reward,
        args=arguments,
        train_dataset=Dataset.from_list(questions),
        processing_class=tokenizer,
    )
    trainer.train()
    moved = any(
        not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True)
    )
    if rank == 0:
        table = {name: [*values] for name, values in trainer._logs["extra"].items()}
        log = {"history": trainer.state.log_history, "moved": moved, "table": table}
        (where / "log.json").write_text(json.dumps(log))


def refused(url: str, folder: str, fault: str, config: Config | None) -> None:
    """Training with a permanent fault; writes the error that ends this rank.

    A rank that still runs at the deadline is killed, which ends the script.
    """
    signal.alarm(REFUSAL_DEADLINE_S)
    try:
        train(url, folder, 2, fault, config=config)
    except RewardError as error:
        Path(folder, f"rank{PartialState().process_index}.error").write_text(str(error))


def worker(url: str, folder: str) -> None:
    """A group as the rollout worker of AsyncGRPO scores it, after the pickling with which it is sent there."""
    from trl.experimental.async_grpo import AsyncGRPOTrainer

    PartialState(cpu=True)
    module = inspect.getmodule(inspect.getmodule(AsyncGRPOTrainer).AsyncRolloutWorker)  # type: ignore[union-attr]
    loop_class, group_class = module._AsyncRolloutLoop, module.RolloutGroup  # type: ignore[union-attr]
    reward = GroupReward(6, url)
    rewards: dict[str, list[Any]] = {
        "reward": [reward],
        "async": [AsyncGroupReward(6, url)],
        "parts": reward.components(),
    }
    scored = {}
    for name, functions in rewards.items():
        loop = object.__new__(loop_class)
        loop.reward_funcs = pickle.loads(pickle.dumps(functions))
        loop.reward_func_names = [each.__name__ for each in functions]
        loop._env_reward_types = []
        several = [
            asyncio.run(loop._score_group(rollout_group(group_class, *each))) for each in GROUPS.items()
        ]
        scored[name] = [[sample.metrics for sample in samples] for samples in several]
    Path(folder, "worker.json").write_text(json.dumps(scored))


def rollout_group(kind: Any, prompt: str, texts: list[str]) -> Any:
    """A finished group of the worker, whose completions made one sequence each."""
    sequence = SimpleNamespace(input_ids=[1], completion_mask=[1], old_log_probs=[0.0])
    known = {
        "prompts": [[{"role": "user", "content": prompt}]] * len(texts),
        "completions": [[{"role": "assistant", "content": text}] for text in texts],
        "completions_ids": [[1]] * len(texts),
        "completions_sequences": [[sequence]] * len(texts),
        "tool_call_counts": [0] * len(texts),
        "tool_failure_counts": [0] * len(texts),
        "reward_kwargs": {"solution": ["7"] * len(texts)},
        "model_version": 0,
        "group_id": 0,
    }
    empty: dict[str, list[Any]] = {each.name: [] for each in fields(kind) if each.name not in known}
    return kind(**known, **empty)


def example(url: str, folder: str) -> None:
    """The example of the repository, with the tiny model of these tests."""
    trl_arithmetic.tiny_model = policy
    flags = ["--reward-url", url, "--output", folder, "--max-completion-length", "1", "--batch-size", "32"]
    trainer = trl_arithmetic.main(flags)
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "log.json").write_text(json.dumps({"history": trainer.state.log_history}))


def alone(function: Any, *arguments: Any) -> None:
    """Runs a function in a fork, which must exit with 0."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit(f"{function.__name__} ended with {process.exitcode}")


def main(url: str, folder: str) -> None:
    """All runs, one after the other."""
    torch.set_num_threads(1)
    alone(worker, url, folder)
    alone(train, url, f"{folder}/single", 32)
    alone(train, url, f"{folder}/async", 32, "", "GRPO", "paper", None, AsyncRecording)
    alone(train, url, f"{folder}/parts", 32, "", "GRPO", "paper", None, Recording, True)
    alone(train, url, f"{folder}/async-parts", 32, "", "GRPO", "paper", None, AsyncRecording, True)
    alone(train, url, f"{folder}/rloo", 32, "", "RLOO", "tags")
    alone(example, url, f"{folder}/example")
    debug_launcher(train, (url, f"{folder}/whole", 4), num_processes=2)
    debug_launcher(train, (url, f"{folder}/split", 2, "", "GRPO", "boxed"), num_processes=2)
    many = (url, f"{folder}/async-split", 2, "", "GRPO", "boxed", None, AsyncRecording)
    debug_launcher(train, many, num_processes=2)
    for fault in FAULTS_THAT_END:
        config = "nowhere" if fault == "refused" else None
        debug_launcher(refused, (url, f"{folder}/{fault}", fault, config), num_processes=2)
    debug_launcher(train, (url, f"{folder}/give up", 2, "give up"), num_processes=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
