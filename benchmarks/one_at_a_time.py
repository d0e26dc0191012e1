"""The order of work of the code released with the paper, with which `make bench-trainer` compares our loop.

It was written from a description of that code: each rollout is sampled alone, each step is embedded alone, and each
rollout has its own backward pass and optimizer step. It computes the same as our loop: same model, adapters, sampling
and rewards, with the image in the gradient and the KL to the base model.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import get_peft_model

from ireasoner.trainer.adapters.backbone import (
    load_backbone,
    load_processor,
    lora_config,
    name_roles,
    placeholder_token_ids,
)
from ireasoner.trainer.evaluation.questions import parse_answer
from ireasoner.trainer.images import read_image
from ireasoner.trainer.rollouts.prompts import Message, parse_question, proposer_messages, solver_messages
from ireasoner.trainer.settings import Role, RunSettings

_STEP = re.compile(r"^Step \d+: (.+)$", re.MULTILINE)
_IMAGES = ("pixel_values", "image_grid_thw")


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A completion, and the inputs of a forward pass over it and its prompt."""

    text: str
    inputs: dict[str, torch.Tensor]
    prompt_tokens: int


class OneAtATime:
    """Trains on one question after another.

    Args:
        settings: The settings of the run; its servers are not used.

    Attributes:
        seconds: Seconds of each phase so far: propose, roll_out, score, train.
        solver_tokens: Number of tokens of each of the Solver's rollouts so far.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        backbone = load_backbone(settings.model, "float32")
        shape = lora_config(backbone, settings.lora)
        self._policy = get_peft_model(backbone, shape)
        name_roles(self._policy, shape)
        self._processor = load_processor(settings.model)
        self._forbidden = list(placeholder_token_ids(backbone.config))
        self._embeddings: NDArray[np.float32] = backbone.get_input_embeddings().weight.detach().numpy()
        self._optimizers: dict[Role, torch.optim.AdamW] = {}
        for role in ("proposer", "solver"):
            self._policy.set_adapter(role)
            trained = [parameter for parameter in self._policy.parameters() if parameter.requires_grad]
            self._optimizers[role] = torch.optim.AdamW(
                trained, lr=settings.grpo["learning_rate"], weight_decay=0.01
            )
        self._baselines: dict[Role, float] = {"solver": 0.5, "proposer": 0.5}
        self.seconds: dict[str, float] = defaultdict(float)
        self.solver_tokens: list[int] = []

    def train_on(self, image: Path, progress: float, *, proposer: bool) -> None:
        """Trains on one question: N optimizer steps of the Solver and, if `proposer`, one of the Proposer."""
        picture = read_image(image)
        with self._timed("propose"):
            proposal = self._sample("proposer", proposer_messages(), picture)
        question = parse_question(proposal.text) or proposal.text
        with self._timed("roll_out"):
            group = [
                self._sample("solver", solver_messages(question), picture)
                for _ in range(self._settings.group_size)
            ]
        self.solver_tokens += [one.inputs["input_ids"].shape[1] - one.prompt_tokens for one in group]
        with self._timed("score"):
            rewards, proposer_reward = self._score([one.text for one in group], progress)
        with self._timed("train"):
            for one, reward in zip(group, rewards, strict=True):
                self._step("solver", one, reward)
            if proposer:
                self._step("proposer", proposal, proposer_reward)

    def _sample(self, role: Role, messages: list[Message], picture: Any) -> _Sampled:
        rollout = self._settings.rollout
        max_tokens = rollout.solver_max_tokens if role == "solver" else rollout.proposer_max_tokens
        prompt = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = self._processor(images=[picture], text=[prompt], return_tensors="pt")
        self._policy.set_adapter(role)
        self._policy.eval()
        with torch.no_grad():
            ids = self._policy.generate(
                **inputs,
                do_sample=True,
                temperature=rollout.temperature,
                top_k=0,
                top_p=1.0,
                repetition_penalty=1.0,
                suppress_tokens=self._forbidden,
                max_new_tokens=max_tokens,
            )
        tokens = inputs["input_ids"].shape[1]
        types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(ids[:, tokens:])], dim=1)
        whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types}
        text = self._processor.tokenizer.decode(ids[0, tokens:], skip_special_tokens=True)
        return _Sampled(text, {**whole, **{name: inputs[name] for name in _IMAGES}}, tokens)

    def _score(self, texts: Sequence[str], progress: float) -> tuple[list[float], float]:
        """The paper's rewards of the Solver's rollouts, and of the question."""
        answers = [parse_answer(text) for text in texts]
        counts = Counter(answer for answer in answers if answer is not None)
        if not counts:
            return [0.0] * len(texts), 0.0
        words = [len(text.split("<answer>")[0].split()) for text in texts]
        outcome = [
            (counts[answer] / len(texts)) ** 0.7 * (1 - 0.05 * min(max((n - 64) / 64, 0), 1))
            if answer
            else 0.0
            for answer, n in zip(answers, words, strict=True)
        ]
        dominant, count = counts.most_common(1)[0]
        members = [i for i, answer in enumerate(answers) if answer == dominant] if count > 1 else []
        trajectory = self._trajectory(texts, members)
        weight = max(progress - 0.3, 0.0)
        rewards = [(1 - weight) * a + weight * b for a, b in zip(outcome, trajectory, strict=True)]
        shares = np.array(list(counts.values())) / counts.total()
        entropy_nats = float(-(shares * np.log(shares)).sum())
        return rewards, float(np.exp(-((entropy_nats - 0.9) ** 2) / (2 * 0.35**2)))

    def _trajectory(self, texts: Sequence[str], members: Sequence[int]) -> list[float]:
        embedded = {i: [self._embed(step) for step in _STEP.findall(texts[i])[:8]] for i in members}
        rewards = [0.0] * len(texts)
        for i in members:
            total = weights = 0.0
            for j, embedding in enumerate(embedded[i]):
                peers = [steps[j] for steps in embedded.values() if len(steps) > j]
                if len(peers) < 2:
                    continue
                mean = np.mean(peers, axis=0)
                cosine = float(embedding @ mean / np.linalg.norm(mean))
                weight = float(np.exp(-0.15 * j))
                total += weight * (1 + cosine) / 2
                weights += weight
            if weights:
                rewards[i] = (len(members) / len(texts)) ** 0.7 * total / weights
        return rewards

    def _embed(self, step: str) -> NDArray[np.float32]:
        ids = self._processor.tokenizer(step, add_special_tokens=False)["input_ids"][:64]
        embedding: NDArray[np.float32] = self._embeddings[ids].mean(axis=0)
        return embedding / np.linalg.norm(embedding)

    def _step(self, role: Role, sampled: _Sampled, reward: float) -> None:
        """A backward pass and an optimizer step for one completion."""
        self._policy.set_adapter(role)
        self._policy.train()
        own = self._logprobs(sampled)
        with torch.no_grad(), self._policy.disable_adapter():
            reference = self._logprobs(sampled)
        kl = ((reference - own).exp() - (reference - own) - 1).mean()
        advantage = reward - self._baselines[role]
        self._baselines[role] += 0.1 * advantage
        loss = -advantage * own.mean() + self._settings.kl.beta * kl
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer = self._optimizers[role]
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def _logprobs(self, sampled: _Sampled) -> torch.Tensor:
        """Log-probability of each token of the completion, shape (tokens,)."""
        logits = self._policy(**sampled.inputs).logits[0, sampled.prompt_tokens - 1 : -1]
        chosen: torch.Tensor = logits.log_softmax(-1).gather(
            1, sampled.inputs["input_ids"][0, sampled.prompt_tokens :, None]
        )[:, 0]
        return chosen

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started_s = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - started_s
