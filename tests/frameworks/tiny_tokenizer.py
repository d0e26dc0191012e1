"""A byte-level tokenizer with a chat template, and a script that returns given texts in turn."""

import asyncio
import random
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer(folder: Path | None = None) -> Any:
    """The tokenizer; saved into `folder` if that is given."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.decoders import ByteLevel
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = Tokenizer(models.BPE({token: index for index, token in enumerate(special + alphabet)}, []))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=base, eos_token=special[2], pad_token=special[0])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:2]})
    tokenizer.chat_template = TEMPLATE
    if folder is not None:
        tokenizer.save_pretrained(folder)
    return tokenizer


class Script:
    """Returns the texts of each prompt in turn, each after a short delay."""

    def __init__(self, tokenizer: Any, groups: dict[str, list[str]]) -> None:
        self._tokenizer = tokenizer
        self._texts = {prompt: list(texts) for prompt, texts in groups.items()}
        self._draw = random.Random(0)

    async def sample(self, prompt_ids: list[int]) -> list[int]:
        """The tokens of the next text for the prompt in `prompt_ids`, with the end token."""
        prompt = self._tokenizer.decode(prompt_ids)
        text = next(texts.pop(0) for known, texts in self._texts.items() if known in prompt)
        await asyncio.sleep(self._draw.uniform(0.0, 0.3))
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*tokens, self._tokenizer.eos_token_id]
