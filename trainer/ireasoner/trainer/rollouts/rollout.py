"""A rollout, token by token, and the contract it was sampled under."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FORBIDDEN_BIAS = -100.0
"""Added to the logit of a forbidden token before the temperature: the lowest value that OpenAI's API takes."""

MAX_FORBIDDEN = 1024
"""Tokens that vLLM can forbid in one request."""


@dataclass(frozen=True, slots=True)
class SamplingContract:
    """Every parameter of the sampling distribution, set explicitly so that no checkpoint default applies.

    Attributes:
        max_tokens: Maximum new tokens.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Nucleus sampling; 1 is off.
        top_k: Top-k sampling; -1 is off.
        min_p: Min-p sampling; 0 is off.
        repetition_penalty: 1 is off.
        forbidden_token_ids: Tokens that are never sampled, at most `MAX_FORBIDDEN`. Image and video placeholders would
            shift the image features of the training forward pass; other ids may have no text.
        stop_token_ids: Tokens that end a completion, besides the tokenizer's own end of sequence; they are part of it.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    forbidden_token_ids: tuple[int, ...] = ()
    stop_token_ids: tuple[int, ...] = ()

    @property
    def logit_bias(self) -> dict[str, float]:
        """The forbidden tokens as OpenAI's `logit_bias`."""
        return {str(token_id): FORBIDDEN_BIAS for token_id in self.forbidden_token_ids}

    def greedy(self) -> "SamplingContract":
        """The same contract at temperature 0."""
        return replace(self, temperature=0.0)

    def request_fields(self) -> dict[str, object]:
        """The contract as fields of an OpenAI chat-completions request, with vLLM's extensions."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": list(self.stop_token_ids),
            "logit_bias": self.logit_bias,
        }


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion of one prompt.

    Attributes:
        text: The completion as the server decoded it, without special tokens.
        token_ids: The sampled tokens, with the end of sequence unless `finish_reason` is "length".
        logprobs: Natural log-probability of each sampled token under the served policy and the contract.
        prompt_token_ids: The prompt as the server saw it, image placeholders expanded.
        finish_reason: "stop" if the policy ended the completion, "length" if it was cut off.
        policy: The versioned name under which the policy was served (`solver-000012`).
        seed: The seed of this sample.
        figures: Figures of the distribution of each token, by name, as `token_figures` defines them; empty unless they
            were measured.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    prompt_token_ids: tuple[int, ...]
    finish_reason: str
    policy: str
    seed: int
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """`count` rollouts of one prompt.

    Attributes:
        messages: Chat messages in the processor's form: a message's content is text, or parts of type `image`
            (without data) and `text`.
        image_png: The image of the `image` part, PNG encoded; None for text alone.
        count: Number of rollouts.
        seed: Seed of the first rollout; the server adds one for each further one.
    """

    messages: list[dict[str, object]]
    image_png: bytes | None
    count: int
    seed: int
