"""Rollouts without a rollout server: transformers samples from the trainer's own policy, or a text is scored."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import torch
from PIL import Image

from ireasoner.clients import Group, ScoredGroup, ScoredRollout, ScoreResponse
from ireasoner.trainer.adapters.backbone import active_adapter
from ireasoner.trainer.rollouts.busy_clock import BusyClock
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract

Script = Callable[[str, int], str]
"""Returns the text of a role's rollout, by its index in the group."""


class PolicyRollouts:
    """Stands in for a `RolloutClient`.

    Args:
        processor: The policy's processor.
        script: The text of each rollout; without one, transformers samples.

    Attributes:
        policy: The trainer's policy, which must be set before the first call.
    """

    base_url = "transformers"

    def __init__(self, processor: Any, script: Script | None) -> None:
        self.policy: Any = None
        self.sampling = BusyClock()
        self._processor = processor
        self._script = script
        self._names = ["base"]

    @property
    def members(self) -> tuple["PolicyRollouts"]:
        """This one alone."""
        return (self,)

    def models(self) -> list[str]:
        """The names of the base model and the adapters."""
        return self._names

    def load_adapter(self, name: str, _: str) -> None:
        """Serves the policy's adapter under a name; only the newest version of a role is there."""
        self._names.append(name)

    def unload_adapter(self, name: str) -> None:
        """Serves it no longer."""
        self._names.remove(name)

    def sample(
        self, name: str, requests: Sequence[RolloutRequest], contract: SamplingContract, _: int | None = None
    ) -> list[list[Rollout]]:
        """The rollouts of each request, as a `RolloutClient` gives them."""
        assert name in self._names
        role = name.split("-")[-2]
        training = self.policy.training
        self.policy.eval()
        try:
            with torch.no_grad(), active_adapter(self.policy, role):
                sampled = [self._rollouts(name, role, request, contract) for request in requests]
        finally:
            self.policy.train(training)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()  # what follows is training
        return sampled

    def _rollouts(
        self, name: str, role: str, request: RolloutRequest, contract: SamplingContract
    ) -> list[Rollout]:
        text = self._processor.apply_chat_template(
            request.messages, tokenize=False, add_generation_prompt=True
        )
        assert request.image_png is not None
        picture = Image.open(BytesIO(request.image_png)).convert("RGB")
        inputs = self._processor(images=[picture], text=[text], return_tensors="pt").to(self.policy.device)
        ids = self._completions(role, request, contract, inputs)
        return [
            Rollout(
                text=self._processor.tokenizer.decode(each, skip_special_tokens=True),
                token_ids=tuple(each),
                logprobs=tuple(self._logprobs(inputs, each, contract.temperature)),
                prompt_token_ids=tuple(inputs["input_ids"][0].tolist()),
                finish_reason="stop" if each[-1] in contract.stop_token_ids else "length",
                policy=name,
                seed=request.seed + member,
            )
            for member, each in enumerate(ids)
        ]

    def _completions(
        self, role: str, request: RolloutRequest, contract: SamplingContract, inputs: Any
    ) -> list[list[int]]:
        if self._script is not None:
            texts = [self._script(role, member) for member in range(request.count)]
            tokenizer = self._processor.tokenizer
            return [
                [*tokenizer(each, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
                for each in texts
            ]
        torch.manual_seed(request.seed)
        prompt = inputs["input_ids"].size(1)
        sampled = self.policy.generate(
            **inputs,
            do_sample=True,
            temperature=contract.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=contract.max_tokens,
            num_return_sequences=request.count,
            eos_token_id=list(contract.stop_token_ids),
        )[:, prompt:].tolist()
        return [_ended(each, contract.stop_token_ids) for each in sampled]

    def _logprobs(self, inputs: Any, completion: list[int], temperature: float) -> list[float]:
        ids = torch.tensor(completion, device=self.policy.device)
        types = inputs["mm_token_type_ids"]
        whole = torch.cat([inputs["input_ids"][0], ids])[None]
        logits = self.policy(
            **{
                **inputs,
                "input_ids": whole,
                "attention_mask": torch.ones_like(whole),
                "mm_token_type_ids": torch.cat([types, types.new_zeros(1, len(completion))], dim=1),
            },
            logits_to_keep=len(completion) + 1,
        ).logits[0, :-1]
        chosen: list[float] = (
            (logits.float() / temperature).log_softmax(-1).gather(1, ids[:, None])[:, 0].tolist()
        )
        return chosen


def _ended(ids: list[int], stops: Sequence[int]) -> list[int]:
    """The tokens up to the one that ended the completion."""
    end = next((index + 1 for index, each in enumerate(ids) if each in stops), len(ids))
    return ids[:end]


class DrawnRewards:
    """Stands in for a `RewardClient`: the rewards of a group differ, and say nothing about its texts."""

    takes_images = False

    def score(self, endpoint: str, groups: Sequence[Group], **_: Any) -> ScoreResponse:
        """A reward in [0, 1] for each rollout, by its index."""
        scored = []
        for index, group in enumerate(groups):
            rewards = [(member * 7 + index) % 5 / 4 for member in range(len(group.rollouts))]
            rollouts = tuple(
                ScoredRollout(rollout.id, "ok", None, "1", reward, reward, None, ())
                for rollout, reward in zip(group.rollouts, rewards, strict=True)
            )
            paid = index % 5 / 4 if endpoint == "proposer" else None
            scored.append(ScoredGroup(group.id, "ok", None, False, 0.5, 0.5, 0.5, paid, (), rollouts))
        return ScoreResponse("check", "check", tuple(scored))
