"""The server's options: each field is a flag, a `REWARD_*` variable and a line of `--help`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

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
    device: str = Field("auto", description="Torch's name of the embedder's device; auto takes a GPU if any.")
    threads: int | None = Field(None, ge=1, description="Threads of the embedder; left to torch by default.")
    max_body_bytes: int = Field(64 * 2**20, ge=1024, description="Largest request.")
    max_queue_texts: int = Field(
        65_536, ge=1, description="Distinct steps that may wait to be embedded; beyond it requests get 429."
    )
    max_batch_tokens: int = Field(4_096, ge=1, description="Tokens in one forward pass.")
    cache_mib: int = Field(256, ge=0, description="Memory for embeddings that were computed before.")
    configs_folder: Path | None = Field(
        None,
        description="Folder in which configs that are registered by name are kept; without it they end with "
        "the server.",
    )
    request_timeout_s: float = Field(60.0, gt=0, description="Seconds after which a request gets 504.")
    max_cohort_callers: int = Field(
        65_536, ge=1, description="Callers that may wait for their cohorts; beyond it they get 429."
    )
    max_cohort_mib: int = Field(
        256, ge=1, description="Memory for the rollouts of callers that wait; beyond it they get 429."
    )
    workers: int = Field(
        default_factory=lambda: int(os.environ.get("WEB_CONCURRENCY", "1")),
        description="Must be 1, which is the default unless WEB_CONCURRENCY says otherwise: a cohort lives in "
        "one process.",
    )
    shutdown_timeout_s: int = Field(30, ge=1, description="Seconds that running requests get after SIGTERM.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
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


def read_settings(arguments: Sequence[str]) -> RewardServerSettings:
    """Reads flags and environment; `--help` and a wrong flag end the process as argparse does.

    Raises UnknownVariable for a mistyped variable and pydantic's ValidationError for a wrong value.
    """
    known = {f"{PREFIX}{name}".upper() for name in RewardServerSettings.model_fields}
    present = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    if unknown := sorted(present - known):
        raise UnknownVariable(f"{', '.join(unknown)} is no option; there are {', '.join(sorted(known))}")
    return RewardServerSettings(_cli_parse_args=list(arguments))
