"""The settings of `ireasoner evaluate`; apart from the evaluation, so that `--help` is there at once."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ireasoner.trainer.evaluation.matching import Matching


class EvaluateSettings(BaseSettings):
    """Ask a served policy labelled questions: greedily, and N times at temperature 1."""

    model_config = SettingsConfigDict(
        extra="forbid",
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_prog_name="ireasoner evaluate",
        cli_kebab_case=True,
        env_prefix="IREASONER_EVALUATE_",
    )

    questions: Path
    """JSON-lines file of {"image", "question", "answer", "type"?, "choices"?, "matching"?}; images relative to it."""
    matching: Matching = "exact"
    """When an answer is right, for lines that do not say it (those with choices: choice); relaxed is ChartQA's."""
    url: str = "http://127.0.0.1:8020"
    """The server, without /v1."""
    api: Literal["vllm", "openai"] = "vllm"
    """openai: ask with the fields of OpenAI's own API alone, for servers that refuse vLLM's; they may then apply
    sampling defaults of their own."""
    api_key: SecretStr | None = None
    """Sent as a bearer token; better set as IREASONER_EVALUATE_API_KEY than on a command line."""
    policy: str | None = None
    """The served name to ask (default: the base model)."""
    model: str | None = None
    """The base model (folder or hub id), whose placeholder tokens are then never sampled."""
    samples: int = Field(8, ge=1)
    """N: rollouts a question at temperature 1."""
    max_tokens: int = Field(256, ge=1)
    """New tokens of a rollout at most."""
    limit: int | None = Field(None, ge=1)
    """Questions at most (default: all)."""
    seed: int = Field(0, ge=0)
    """Seed of the sampled rollouts."""
    retry_budget_s: float = Field(30.0, ge=0)
    """How long to go on trying while the server is away."""
    output: Path | None = None
    """JSON file for the figures."""
