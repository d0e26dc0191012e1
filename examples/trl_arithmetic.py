"""Trains on word problems with TRL's GRPOTrainer and a running reward server, without labels and on text only.

    reward-server &
    python examples/trl_arithmetic.py --model Qwen/Qwen2.5-0.5B-Instruct --max-completion-length 256 --steps 100

In the environment of `make install`, set PYTHONPATH=compat/ireasoner/compat/startup (docs/frameworks/trl.md).
Without --model it trains a tiny model with random weights. That model answers nonsense, so all rewards are 0: it shows
that the parts fit together. `answer` in the file of problems is for your own evaluation; nothing here reads it.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import GRPOTrainer

PROBLEMS = Path(__file__).with_name("arithmetic.jsonl")
TASK = (
    "{question}\nThink in numbered steps inside <think></think>, then give the number in <answer></answer>."
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def problems(file: Path = PROBLEMS) -> "Dataset":
    """The problems as conversations."""
    from datasets import Dataset

    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": TASK.format(question=row["question"])}]} for row in rows]
    )


def tiny_model() -> tuple[Any, Any]:
    """A Qwen2 with about 0.1 M random weights, and a byte-level tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.decoders import ByteLevel
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = Tokenizer(models.BPE({token: index for index, token in enumerate(special + alphabet)}, []))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=base, eos_token=special[2], pad_token=special[0])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:2]})
    tokenizer.chat_template = TEMPLATE
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config), tokenizer


def main(flags: Sequence[str] | None = None) -> "GRPOTrainer":
    """Reads the flags and trains; returns the trainer, whose state holds the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="hub id or folder of a model [a tiny random one]")
    parser.add_argument(
        "--reward-url", default="http://127.0.0.1:8010", help="the reward server [%(default)s]"
    )
    parser.add_argument("--reward-config", default="paper", help="the config to score by [%(default)s]")
    parser.add_argument(
        "--output", default="runs/trl-arithmetic", help="folder for checkpoints [%(default)s]"
    )
    parser.add_argument("--steps", type=int, default=2, help="updates [%(default)s]")
    parser.add_argument("--num-generations", type=int, default=4, help="rollouts per problem [%(default)s]")
    parser.add_argument("--batch-size", type=int, default=8, help="rollouts per process [%(default)s]")
    parser.add_argument(
        "--max-completion-length", type=int, default=32, help="tokens per rollout [%(default)s]"
    )
    options = parser.parse_args(flags)

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from ireasoner.clients.trl_reward import GroupReward

    if options.model:
        model = AutoModelForCausalLM.from_pretrained(options.model)
        tokenizer = AutoTokenizer.from_pretrained(options.model)
    else:
        model, tokenizer = tiny_model()
    arguments = GRPOConfig(
        output_dir=options.output,
        max_steps=options.steps,
        num_generations=options.num_generations,
        per_device_train_batch_size=options.batch_size,
        max_completion_length=options.max_completion_length,
        logging_steps=1,
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available(),
        save_strategy="no",
        report_to=[],
    )
    reward = GroupReward(options.num_generations, url=options.reward_url, config=options.reward_config)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=problems(),
        processing_class=tokenizer,
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main()
