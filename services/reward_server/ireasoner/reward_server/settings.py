"""The server's options: each field is a flag, a `REWARD_*` variable and a line of `--help`."""

import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

from ireasoner.reward_server.embedding.embedder import EmbedderSpec, Runtime
from ireasoner.reward_server.observability.logs import LogFormat

PREFIX = "REWARD_"


class UnknownVariable(Exception):
    """The environment has a variable `REWARD_*` that is no option."""


class RewardServerSettings(BaseSettings):
    """Scores groups of rollouts by their agreement with themselves, over HTTP.

    Every option can be given as a flag or as a variable REWARD_<OPTION>; a flag wins.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        cli_prog_name="reward-server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        extra="forbid",
        validate_default=True,
        frozen=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8010, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    embedder: str = Field(
        "minilm",
        min_length=1,
        description="minilm (all-MiniLM-L6-v2, from its package), token-mean (needs a checkpoint), or "
        "the hub id or folder of any sentence-transformers model.",
    )
    token_mean_checkpoint: Path | None = Field(
        None,
        description="For token-mean: a policy's checkpoint, a folder with tokenizer.json and *.safetensors.",
    )
    runtime: Runtime = Field(
        "auto",
        description="What runs the embedder, in which precision: openvino-bf16 or openvino-fp32 (on a CPU), torch-bf16 "
        "or torch-fp32; auto is OpenVINO for minilm on a CPU, else torch, in bfloat16 where the device computes "
        "in it.",
    )
    device: str = Field("auto", description="Torch's name of the embedder's device; auto takes a GPU if any.")
    threads: int | None = Field(
        None, ge=1, description="Threads of the embedder; left to the runtime by default."
    )
    tokens_file: Path | None = Field(
        None,
        description="Hashes of the bearer tokens of experiments. Needed to listen on anything but loopback.",
    )
    open_metrics: CliImplicitFlag[bool] = Field(
        False, description="Show /metrics without a token, for a Prometheus that has none."
    )
    max_body_bytes: int = Field(32 * 2**20, ge=1024, description="Largest body of a request.")
    max_held_bytes: int = Field(
        256 * 2**20, ge=1024, description="Bodies of all requests together; beyond it requests get 429."
    )
    max_groups: int = Field(1_024, ge=1, description="Groups in a request.")
    max_rollouts: int = Field(1_024, ge=1, description="Rollouts in a group.")
    max_request_rollouts: int = Field(
        16_384, ge=1, description="Rollouts in a request, those of all its groups together."
    )
    max_steps: int = Field(256, ge=1, description="Steps of a rollout that was parsed before it was sent.")
    max_text_characters: int = Field(200_000, ge=1, description="Characters of a rollout.")
    max_queue_texts: int = Field(
        16_384, ge=1, description="Distinct steps that may wait to be embedded; beyond it requests get 429."
    )
    max_batch_tokens: int = Field(2_048, ge=1, description="Tokens in one forward pass.")
    cache_mib: int = Field(256, ge=0, description="Memory for embeddings that were computed before.")
    redis_url: str | None = Field(
        None,
        pattern=r"^(rediss?|unix)://",
        description="Redis in which replicas share embeddings (needs the extra `redis`); one that is away is a "
        "cache that holds nothing.",
    )
    redis_timeout_ms: float = Field(
        50.0, gt=0, description="Milliseconds that a pass waits for Redis, before and after it."
    )
    configs_folder: Path | None = Field(
        None,
        description="Folder in which configs that are registered by name are kept; without it they end with "
        "the server.",
    )
    request_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Seconds after which a request gets 504; a request can ask for less with the header "
        "X-Request-Timeout.",
    )
    max_cohort_callers: int = Field(
        65_536, ge=1, description="Callers that may wait for their cohorts; beyond it they get 429."
    )
    max_cohort_mib: int = Field(
        128, ge=1, description="Memory for the rollouts of callers that wait; beyond it they get 429."
    )
    workers: int = Field(
        default_factory=lambda: int(os.environ.get("WEB_CONCURRENCY", "1")),
        description="Must be 1, which is the default unless WEB_CONCURRENCY says otherwise: a cohort lives in "
        "one process.",
    )
    body_timeout_s: float = Field(30.0, gt=0, description="Seconds that a request's body may take to arrive.")
    write_timeout_s: float = Field(30.0, gt=0, description="Seconds that a caller may take to read on.")
    pass_timeout_s: float = Field(
        120.0, gt=0, description="Seconds after which an embedding worker that does not answer is killed."
    )
    drain_notice_s: float = Field(
        1.0, ge=0, description="Seconds from SIGTERM, when readiness goes off, until nothing more is taken."
    )
    shutdown_timeout_s: int = Field(30, ge=1, description="Seconds that running requests get after that.")
    open_telemetry: CliImplicitFlag[bool] = Field(
        False, description="Send spans as the OTEL_* variables say (needs the extra `otel`)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: LogFormat = Field("json", description="Log lines as JSON objects or as text.")
    new_token: str | None = Field(
        None, description="Make a token for the experiment of this name, print it and end."
    )
    print_openapi: CliImplicitFlag[bool] = Field(False, description="Print the OpenAPI document and end.")

    @field_validator("workers")
    @classmethod
    def _one_worker(cls, workers: int) -> int:
        if workers != 1:
            raise ValueError(
                f"{workers} workers cannot be had: callers of one cohort would meet different processes and "
                "wait for each other in vain. Run one; it embeds in a thread of its own (--threads)"
            )
        return workers

    @model_validator(mode="after")
    def _checkpoint_for_token_mean(self) -> Self:
        if self.embedder == "token-mean" and self.token_mean_checkpoint is None:
            raise ValueError("--embedder token-mean needs --token-mean-checkpoint")
        if self.embedder != "token-mean" and self.token_mean_checkpoint is not None:
            raise ValueError(f"--token-mean-checkpoint goes with token-mean, not with {self.embedder!r}")
        if self.token_mean_checkpoint is not None and not self.token_mean_checkpoint.is_dir():
            raise ValueError(f"--token-mean-checkpoint: {self.token_mean_checkpoint} is not a folder")
        return self

    @model_validator(mode="after")
    def _tokens_unless_on_loopback(self) -> Self:
        if self.tokens_file is None and not is_loopback(self.host):
            raise ValueError(f"--host {self.host} can be reached from elsewhere: it needs --tokens-file")
        if self.tokens_file is None and self.new_token is not None:
            raise ValueError("--new-token needs --tokens-file")
        return self

    @property
    def embedder_spec(self) -> EmbedderSpec:
        """Which embedder, run how."""
        return EmbedderSpec(**{name: getattr(self, name) for name in EmbedderSpec.model_fields})


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(arguments: Sequence[str]) -> RewardServerSettings:
    """Reads flags and environment; `--help` and a wrong flag end the process as argparse does.

    Raises UnknownVariable for a mistyped variable and pydantic's ValidationError for a wrong value.
    """
    known = {f"{PREFIX}{name}".upper() for name in RewardServerSettings.model_fields}
    present = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    if unknown := sorted(present - known):
        raise UnknownVariable(f"{', '.join(unknown)} is no option; there are {', '.join(sorted(known))}")
    return RewardServerSettings(_cli_parse_args=list(arguments))
