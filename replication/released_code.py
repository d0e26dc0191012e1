"""Trains one run with defects of the paper's released code put back.

python -m replication.released_code --config configs/reference-faithful.toml --images IMAGES --run-folder RUN
"""

import sys
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource
from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.compat.help_text import HelpText
from ireasoner.trainer.errors import TrainerError
from ireasoner.trainer.settings import describe, read_config
from replication.released_code_settings import ReleasedCodeSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one run; exits with 1 after an error that the user can act on, with 2 after a wrong flag."""
    console = Console()
    try:
        flags = list(sys.argv[1:] if arguments is None else arguments)
        source: CliSettingsSource[Any] = CliSettingsSource(ReleasedCodeSettings, formatter_class=HelpText)
        settings = CliApp.run(ReleasedCodeSettings, flags, cli_settings_source=source, **read_config(flags))
        from replication.released_code_loop import show_plan_with_defects, train_with_defects

        if settings.dry_run:
            show_plan_with_defects(settings, console)
        else:
            train_with_defects(settings, console)
    except ValidationError as error:
        message, status = describe(error), 2
    except (TrainerError, RewardError) as error:
        message, status = str(error), 1
    except KeyboardInterrupt:
        message, status = "interrupted", 130
    else:
        return
    console.print(f"released_code: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
