"""The settings of `ireasoner export`; apart from the export, so that `--help` is there at once."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict

from ireasoner.trainer.settings import Role


class ExportSettings(BaseSettings):
    """Write what a run trained as a peft adapter, or merged into the base model, with a model card."""

    model_config = SettingsConfigDict(
        extra="forbid",
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        env_prefix="IREASONER_EXPORT_",
        cli_prog_name="ireasoner export",
        cli_kebab_case=True,
        cli_implicit_flags=True,
    )

    run_folder: CliPositionalArg[Path]
    """The run."""
    output: Path = Field()
    """Folder to write; must not exist."""
    role: Role = "solver"
    """Whose adapter."""
    merged: bool = False
    """Write whole weights, with the adapter merged in, instead of the adapter alone."""
