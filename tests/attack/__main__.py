"""Attacks a server and prints what each attack did: `python -m tests.attack [WORD]`, which selects names."""

import sys
import tempfile
from pathlib import Path

from tests.attack.attacks import of_bodies, of_callers
from tests.attack.effect import effect_of
from tests.reward_server.compass import write_compass
from tests.reward_server.processes import server


def main() -> None:
    """Runs every attack whose name has the word."""
    word = " ".join(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        compass = write_compass(Path(folder))
        flags = [
            "--embedder",
            "token-mean",
            "--token-mean-checkpoint",
            str(compass),
            "--log-level",
            "warning",
        ]
        with server(Path(folder) / "log", *flags) as attacked:
            for name, attack in (*of_bodies(), *of_callers()):
                if word in name:
                    print(effect_of(name, attacked, attack), flush=True)


if __name__ == "__main__":
    main()
