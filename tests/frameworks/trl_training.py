"""Runs TRL's real GRPOTrainer in separate processes, and writes the inputs and results of its reward function.

    python -m tests.frameworks.trl_training URL FOLDER

TRL is imported once, and each run is a fork. The policy is a random model whose every token is a whole rollout, so
that its samples have answers, steps and ties.
"""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState, debug_launcher
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from examples import trl_arithmetic
from ireasoner.clients import Config, RewardError
from ireasoner.clients.trl_reward import GroupReward
from tests.frameworks.rollouts import DIALECTS

GROUP_SIZE = 4
STEPS = 2
REFUSAL_DEADLINE_S = 90
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

    def __call__(self, *arguments: Any, **columns: Any) -> Any:
        given = dict(columns)
        if self.unreadable:
            given["completions"] = [[number] for number, _ in enumerate(columns["completions"])]
        rewards = super().__call__(*arguments, **given)
        state = columns["trainer_state"]
        line = {
            "prompts": [prompt[-1]["content"] for prompt in columns["prompts"]],
            "texts": [completion[-1]["content"] for completion in columns["completions"]],
            "rewards": rewards,
            "progress": state.global_step / state.max_steps,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return rewards


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
) -> None:
    """Two steps of training, with a policy that writes in a dialect.

    The fault `no server` gives the first rank a wrong address, `unreadable` gives the last rank completions that are
    not messages, and `other size` gives the reward a wrong group size.
    """
    rank = PartialState(cpu=True).process_index
    where = Path(folder)
    where.mkdir(exist_ok=True)
    if fault == "no server" and rank == 0:
        os.environ["IREASONER_REWARD_TIMEOUT_S"] = "0.5"
        url = "http://127.0.0.1:9"
    model, tokenizer = policy(dialect)
    reward = Recording(
        where / f"rank{rank}.jsonl",
        num_generations=GROUP_SIZE + (fault == "other size"),
        url=url,
        config=config or DIALECTS[dialect].config,
    )
    reward.unreadable = fault == "unreadable" and rank == 1
    settings, kind = {"GRPO": (GRPOConfig, GRPOTrainer), "RLOO": (RLOOConfig, RLOOTrainer)}[method]
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
    )
    questions = [{"prompt": [{"role": "user", "content": f"question {number}"}]} for number in range(8)]
    before = [parameter.clone() for parameter in model.parameters()]
    trainer = kind(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(questions),
        processing_class=tokenizer,
    )
    trainer.train()
    moved = any(
        not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True)
    )
    if rank == 0:
        (where / "log.json").write_text(json.dumps({"history": trainer.state.log_history, "moved": moved}))


def refused(url: str, folder: str, fault: str, config: Config | None) -> None:
    """Training with a permanent fault; writes the error that ends this rank.

    A rank that still runs at the deadline is killed, which ends the script.
    """
    signal.alarm(REFUSAL_DEADLINE_S)
    try:
        train(url, folder, 2, fault, config=config)
    except RewardError as error:
        Path(folder, f"rank{PartialState().process_index}.error").write_text(str(error))


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
    alone(train, url, f"{folder}/single", 32)
    alone(train, url, f"{folder}/rloo", 32, "", "RLOO", "tags")
    alone(example, url, f"{folder}/example")
    debug_launcher(train, (url, f"{folder}/whole", 4), num_processes=2)
    debug_launcher(train, (url, f"{folder}/split", 2, "", "GRPO", "boxed"), num_processes=2)
    debug_launcher(refused, (url, f"{folder}/refused", "", "nowhere"), num_processes=2)
    debug_launcher(refused, (url, f"{folder}/odd", "other size", None), num_processes=2)
    for fault in ("no server", "unreadable"):
        debug_launcher(train, (url, f"{folder}/{fault}", 2, fault), num_processes=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
