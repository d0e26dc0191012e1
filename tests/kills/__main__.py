"""Kills processes of a run and compares it with an undisturbed one: `python -m tests.kills --help`."""

import argparse
import tempfile
from pathlib import Path

from tests.kills.killed_run import VICTIMS, killed_run


def main() -> None:
    """Runs it and prints what happened; an assertion fails if the run ended otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("victims", nargs="+", choices=VICTIMS, help="what is killed")
    parser.add_argument("--kills", type=int, default=50, help="kills of each (default: 50)")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="time after which none is killed any more"
    )
    parser.add_argument("--seed", type=int, default=11, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="where the runs and the logs are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        outcome = killed_run(
            options.folder or Path(scratch),
            options.victims,
            options.kills,
            seed=options.seed,
            most_s=60 * options.minutes,
            say=lambda line: print(line, flush=True),
        )
    print(outcome)


if __name__ == "__main__":
    main()
