"""The command `ireasoner report`: the report of one run folder, or of two side by side."""

from rich.console import Console

from ireasoner.trainer.commands.settings import ReportSettings
from ireasoner.trainer.output_path import require_file
from ireasoner.trainer.report import write_comparison, write_report


def main(settings: ReportSettings, console: Console) -> None:
    """Writes the report and prints its path."""
    if settings.output is not None:
        require_file("output", settings.output)
    match settings.run_folders:
        case [first, second]:
            page = write_comparison(first, second, settings.output)
        case [only]:
            page = write_report(only, settings.output)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
