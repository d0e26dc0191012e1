"""The flags of `ireasoner report`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict


class ReportSettings(BaseSettings):
    """Write the HTML report of a run folder, or of two side by side; a run may still be going on."""

    model_config = SettingsConfigDict(
        extra="forbid",
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        env_prefix="IREASONER_REPORT_",
        cli_prog_name="ireasoner report",
        cli_kebab_case=True,
    )

    run_folders: CliPositionalArg[list[Path]] = Field(min_length=1, max_length=2)
    """The run folder, or the two to compare: differences are the second minus the first."""
    output: Path | None = None
    """The file to write (default: report.html in the run folder, comparison.html in the second of two)."""
