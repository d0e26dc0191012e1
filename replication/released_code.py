"""Trains one run with defects of the paper's released code put back.

python -m replication.released_code --config configs/reference-faithful.toml --images IMAGES --run-folder RUN
"""

import sys
from collections.abc import Sequence

from ireasoner.compat.flags import read_flags
from ireasoner.trainer.console import errors_reported
from ireasoner.trainer.settings import read_config
from replication.released_code_settings import ReleasedCodeSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one run; exits as `ireasoner.trainer.console` says."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with errors_reported("python -m replication.released_code") as console:
        settings = read_flags(ReleasedCodeSettings, words, **read_config(words))
        from replication.released_code_loop import show_plan_with_defects, train_with_defects

        if settings.dry_run:
            show_plan_with_defects(settings, console)
        else:
            train_with_defects(settings, console)


if __name__ == "__main__":
    main()
