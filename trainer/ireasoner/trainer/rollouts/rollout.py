"""A rollout: what the policy sampled, token by token, and under which contract."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplingContract:
    """Every knob that shapes the sampling distribution, set explicitly so that no checkpoint default leaks in.

    `forbidden_token_ids` are never sampled: image and video placeholders have no embedding of their own and would
    shift the image features of the training forward pass. `stop_token_ids` end a completion, besides the tokenizer's
    own end of sequence, and are part of it.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    forbidden_token_ids: tuple[int, ...] = ()
    stop_token_ids: tuple[int, ...] = ()

    def request_fields(self) -> dict[str, object]:
        """The contract as fields of an OpenAI chat-completions request, vLLM's extensions included."""
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
            "logit_bias": {str(token_id): -100.0 for token_id in self.forbidden_token_ids},
        }


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion of one prompt.

    Attributes:
        text: The completion as the server decoded it, special tokens left out.
        token_ids: What was sampled, the end-of-sequence token included unless `finish_reason` is "length".
        logprobs: Natural-log probability of each sampled token under the served policy and the contract,
            one a token.
        prompt_token_ids: The prompt as the server saw it, image placeholders expanded.
        finish_reason: "stop" where the policy ended by itself, "length" where it was cut off.
        policy: The versioned name under which the policy was served (`solver-000012`).
        seed: The seed of this sample.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    prompt_token_ids: tuple[int, ...]
    finish_reason: str
    policy: str
    seed: int


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """`count` rollouts of one prompt.

    Attributes:
        messages: Chat messages in the processor's form: a message's content is text, or parts of type `image`
            (without data) and `text`.
        image_png: The bytes of the one image that the `image` part stands for, PNG encoded; None for text alone.
        count: How many rollouts.
        seed: Seed of the first; the server adds one for each further.
    """

    messages: list[dict[str, object]]
    image_png: bytes | None
    count: int
    seed: int
