"""The flags of `ireasoner report`."""

from pathlib import Path

from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict


class ReportSettings(BaseSettings):
    """Write the HTML report of a run folder; the run may still be going on."""

    model_config = SettingsConfigDict(
        extra="forbid",
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        env_prefix="IREASONER_REPORT_",
        cli_prog_name="ireasoner report",
        cli_kebab_case=True,
    )

    run_folder: CliPositionalArg[Path]
    """The run folder."""
    output: Path | None = None
    """The file to write (default: report.html in the run folder)."""
