"""Measures the distributions that tokens were sampled from, by forward passes.

A rollout server would write the log-probability of every word as JSON.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from ireasoner.trainer.adapters.architecture import TOKEN_TYPES
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.distinct_prompts import DistinctPrompts
from ireasoner.trainer.loop.shared_prompt import can_pack, pack
from ireasoner.trainer.loop.trl_internals import Batch
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.rollout import Rollout, SamplingContract
from ireasoner.trainer.rollouts.token_figures import TOKEN_FIGURES

_CHUNK_LOGITS = 2**24
"""Logits that are computed at a time, 64 MiB in float32."""
_AFTER_THE_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Fields of a config with which some families change logits after the head; None and 1 change nothing."""


def refuse_logits_changed_after_the_head(config: Any, figures: Sequence[str]) -> None:
    """Refuses a base model whose distributions are not those of its head's logits.

    Args:
        config: Its config.
        figures: What is to be measured.

    Raises:
        SettingsError: The message names the field that changes them.
    """
    text = config.get_text_config()
    changing = [name for name in _AFTER_THE_HEAD if getattr(text, name, None) not in (None, 1.0)]
    if figures and changing:
        raise SettingsError(
            f"reward.config: the signal {figures[0]!r} is measured from the logits of the model's head, which "
            f"{changing[0]} = {getattr(text, changing[0])} of this model's config changes: choose another config"
        )


class SignalPass:
    """Forward passes with the adapter that sampled, as it was published.

    They may run beside training, in another thread: the passes use modules and an adapter of their own, and share the
    frozen weights of the backbone.

    Args:
        backbone: The base model, before it gets adapters.
        processor: Its processor.
        folder: Returns the folder of a published adapter by its name.
        contract: How the rollouts were sampled.
        figures: What is measured; see `token_figures`.
        rollouts_per_pass: Rollouts of a forward pass.
    """

    def __init__(
        self,
        backbone: Any,
        processor: Any,
        folder: Callable[[str], Path],
        contract: SamplingContract,
        figures: Sequence[str],
        rollouts_per_pass: int,
    ) -> None:
        self._backbone = copy.deepcopy(backbone, {id(each): each for each in backbone.parameters()})
        self._packs = can_pack(backbone.model)
        self._processor = DistinctPrompts(copy.deepcopy(processor))  # no other thread touches it
        self._folder = folder
        self._temperature = contract.temperature
        forbidden = set(contract.forbidden_token_ids)
        words = range(backbone.config.get_text_config().vocab_size)
        self._words = torch.tensor([word for word in words if word not in forbidden])
        self._figures = tuple(figures)
        self._rollouts_per_pass = rollouts_per_pass
        self._policy: PeftModel | None = None

    def measured(self, prompt: Prompt, rollouts: Sequence[Rollout]) -> list[Rollout]:
        """The rollouts of a prompt with their figures, in order; without tokens they stay as they are."""
        written = [rollout for rollout in rollouts if rollout.token_ids]
        if not written:
            return list(rollouts)
        model = self._serving(written[0].policy)
        size = self._rollouts_per_pass
        parts = [written[first : first + size] for first in range(0, len(written), size)]
        with torch.no_grad():
            measured = iter([each for part in parts for each in self._pass(model, prompt, part)])
        return [next(measured) if rollout.token_ids else rollout for rollout in rollouts]

    def _serving(self, name: str) -> Any:
        """The model with the adapter that was published as `name`."""
        if self._policy is None:
            self._backbone.to(
                next(self._backbone.parameters()).device
            )  # buffers were copied before they moved
            self._policy = PeftModel.from_pretrained(
                self._backbone, str(self._folder(name)), adapter_name=name, low_cpu_mem_usage=True
            ).eval()
        elif name not in self._policy.peft_config:
            [old] = self._policy.peft_config
            # Weights are made where they are read from the file, so no random number is drawn.
            self._policy.load_adapter(str(self._folder(name)), adapter_name=name, low_cpu_mem_usage=True)
            self._policy.set_adapter(name)
            self._policy.delete_adapter(old)
        return self._policy.get_base_model()

    def _pass(self, model: Any, prompt: Prompt, rollouts: Sequence[Rollout]) -> list[Rollout]:
        hidden = self._hidden(model, prompt, rollouts)
        chunk = max(_CHUNK_LOGITS // len(self._words), 1)
        chunks = [self._chunk(model, part) for part in torch.split(hidden, chunk)]
        lengths = [len(rollout.token_ids) for rollout in rollouts]
        by_rollout = {
            name: torch.split(torch.cat([part[name] for part in chunks]), lengths) for name in self._figures
        }
        return [
            replace(rollout, figures={name: tuple(by_rollout[name][row].tolist()) for name in self._figures})
            for row, rollout in enumerate(rollouts)
        ]

    def _hidden(self, model: Any, prompt: Prompt, rollouts: Sequence[Rollout]) -> torch.Tensor:
        """The hidden state that each token of the rollouts was sampled from, shape (tokens of all, width)."""
        rows, longest = len(rollouts), max(len(rollout.token_ids) for rollout in rollouts)
        text = self._processor.apply_chat_template(
            prompt.messages, tokenize=False, add_generation_prompt=True
        )
        inputs = self._processor(images=[[prompt.picture]] * rows, text=[text] * rows, return_tensors="pt")
        ids = torch.zeros(rows, longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, rollout in enumerate(rollouts):
            written = len(rollout.token_ids)
            ids[row, :written], mask[row, :written] = torch.tensor(rollout.token_ids), 1
        appended = {
            "input_ids": ids,
            "attention_mask": mask,
            **dict.fromkeys(TOKEN_TYPES, torch.zeros_like(ids)),
        }
        inputs = {
            name: torch.cat([value, appended[name]], dim=1) if name in appended else value
            for name, value in inputs.items()
        }
        return self._states(model, {name: value.to(model.device) for name, value in inputs.items()}, longest)

    def _states(self, model: Any, inputs: Batch, longest: int) -> torch.Tensor:
        """The same of padded rows with completions of at most `longest` tokens."""
        if not self._packs:
            rows: torch.Tensor = model.model(**inputs, use_cache=False).last_hidden_state
            return rows[:, -longest - 1 : -1][inputs["attention_mask"][:, -longest:].bool()]
        one_group = torch.zeros(len(inputs["input_ids"]), dtype=torch.long, device=model.device)
        packed = pack(model.model, {**inputs, "num_images": [1] * len(one_group)}, one_group, longest)
        with packed.read_by(model.model):
            states: torch.Tensor = model.model(**packed.inputs).last_hidden_state
        return states[0]

    def _chunk(self, model: Any, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        """The figures of some tokens, from their hidden states."""
        words = self._words.to(hidden.device)
        logits = model.get_output_embeddings()(hidden).float().index_select(-1, words) / self._temperature
        logprobs = logits.log_softmax(-1)
        return {name: TOKEN_FIGURES[name](logprobs).double().cpu() for name in self._figures}
