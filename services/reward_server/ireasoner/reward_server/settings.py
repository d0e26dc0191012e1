"""The server's settings: each field is a flag, a `REWARD_*` variable and a line of `--help`."""

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

from ireasoner.compat.flags import read_flags
from ireasoner.reward_server.embedding.embedder import EmbedderSpec, Runtime
from ireasoner.reward_server.observability.logs import LogFormat

PREFIX = "REWARD_"


class RewardServerSettings(BaseSettings):
    """Scores groups of rollouts by their agreement with themselves, over HTTP.

    Every setting is a flag and an environment variable REWARD_<SETTING>; the flag wins. `--version` prints the version.
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

    host: str = Field(
        "127.0.0.1", description="Address to listen on; beyond loopback it needs --tokens-file."
    )
    port: int = Field(8010, ge=0, le=65535, description="Port to listen on; 0 picks a free port.")
    embedder: str = Field(
        "minilm",
        min_length=1,
        description="minilm (all-MiniLM-L6-v2, which the package contains), token-mean (needs "
        "--token-mean-checkpoint), or the hub id or folder of any sentence-transformers model (extra "
        "`sentence-transformers`).",
    )
    token_mean_checkpoint: Path | None = Field(
        None,
        description="For token-mean: a checkpoint of the policy, a folder with tokenizer.json and *.safetensors.",
    )
    runtime: Runtime = Field(
        "auto",
        description="Runtime and precision of the embedder: openvino-bf16 or openvino-fp32 (CPU only), torch-bf16 or "
        "torch-fp32 (extra `sentence-transformers`). auto picks OpenVINO for minilm on a CPU, torch otherwise, and "
        "bfloat16 if the device computes in it.",
    )
    device: str = Field(
        "auto",
        description="Torch device of the embedder; auto picks a GPU or another accelerator if there is one and the "
        "extra `sentence-transformers` is installed.",
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads of the embedder; the runtime decides if not set."
    )
    tokens_file: Path | None = Field(
        None, description="File of hashed bearer tokens, each of one experiment; requests then need a token."
    )
    open_metrics: CliImplicitFlag[bool] = Field(
        False, description="Serve /metrics without a token, for a Prometheus that has none."
    )
    max_body_bytes: int = Field(
        32 * 2**20, ge=1024, description="Largest request body; a larger one gets 413."
    )
    max_held_bytes: int = Field(
        256 * 2**20,
        ge=1024,
        description="Memory of all requests in progress, counted before it is taken: five times a body, and what "
        "scoring it needs. Beyond it requests get 429, or 413 if one alone needs more. The process takes at most this, "
        "--cache-mib and 750 MiB, of which 100 MiB when few callers and connections are open.",
    )
    max_queue_texts: int = Field(
        20_480,
        ge=2,
        description="Distinct steps that may wait to be embedded. A caller may have four times as many there as there "
        "is room left, so 16,384 if it is alone; beyond it requests get 429.",
    )
    max_batch_tokens: int = Field(2_048, ge=1, description="Tokens in one forward pass of the embedder.")
    cache_mib: int = Field(256, ge=0, description="Memory of the embedding cache.")
    redis_url: str | None = Field(
        None,
        pattern=r"^(rediss?|unix)://",
        description="Redis in which replicas share embeddings (extra `redis`). If it is unreachable or slow, "
        "lookups count as misses.",
    )
    configs_folder: Path | None = Field(
        None, description="Folder that keeps registered configs; if not set, they are lost on restart."
    )
    ledger: Path | None = Field(
        None,
        description="Folder that keeps every scored group, on a local disk and for this server alone; if not set, "
        "nothing is kept.",
    )
    ledger_max_gib: float = Field(
        10.0,
        ge=0.001,
        allow_inf_nan=False,
        description="Size of the ledger, images included; beyond it the oldest updates go.",
    )
    request_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Seconds after which a request gets 504; the header X-Request-Timeout can shorten it.",
    )
    drain_notice_s: float = Field(
        1.0,
        ge=0,
        description="Seconds from SIGTERM, when /readyz starts to answer 503, until the port closes.",
    )
    shutdown_timeout_s: int = Field(
        30, ge=1, description="Seconds that requests in progress get after the port has closed."
    )
    open_telemetry: CliImplicitFlag[bool] = Field(
        False, description="Export a span per request, as the OTEL_* variables configure (extra `otel`)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    log_format: LogFormat = Field("json", description="Log lines as JSON objects or as text.")
    new_token: str | None = Field(
        None, description="Create a token for the experiment of this name, print it and exit."
    )
    print_openapi: CliImplicitFlag[bool] = Field(False, description="Print the OpenAPI document and exit.")

    @model_validator(mode="after")
    def _checkpoint_for_token_mean(self) -> Self:
        if self.embedder == "token-mean" and self.token_mean_checkpoint is None:
            raise ValueError("--embedder token-mean needs --token-mean-checkpoint")
        if self.embedder != "token-mean" and self.token_mean_checkpoint is not None:
            raise ValueError(f"--token-mean-checkpoint is for token-mean, not for {self.embedder!r}")
        if self.token_mean_checkpoint is not None and not self.token_mean_checkpoint.is_dir():
            raise ValueError(f"--token-mean-checkpoint: {self.token_mean_checkpoint} is not a folder")
        return self

    @model_validator(mode="after")
    def _tokens_unless_on_loopback(self) -> Self:
        if self.tokens_file is None and not is_loopback(self.host):
            raise ValueError(f"--host {self.host} can be reached from other machines: it needs --tokens-file")
        if self.tokens_file is None and self.new_token is not None:
            raise ValueError("--new-token needs --tokens-file")
        return self

    @property
    def ledger_max_bytes(self) -> int:
        """Size of the ledger."""
        return int(self.ledger_max_gib * 2**30)

    @property
    def embedder_spec(self) -> EmbedderSpec:
        """The embedder and how to run it."""
        return EmbedderSpec.of(self)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(arguments: Sequence[str]) -> RewardServerSettings:
    """Reads flags and environment; `--help` ends the process.

    Raises:
        FlagsError: A flag or a variable `REWARD_*` is unknown, or a value is invalid.
    """
    return read_flags(RewardServerSettings, arguments)
