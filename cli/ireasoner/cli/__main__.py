"""The command `ireasoner`: a table of subcommands; only the part that one belongs to is imported."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from ireasoner.compat.extras import needs_extra


@dataclass(frozen=True)
class Subcommand:
    """One subcommand.

    Args:
        summary: Its line in `ireasoner --help`.
        extra: The extra that brings what it imports.
        function: `module:function`, called with the words after the subcommand.
    """

    summary: str
    extra: str
    function: str


_TRAINER = "ireasoner.trainer.commands.subcommands"
SUBCOMMANDS: Mapping[str, Subcommand] = {
    "demo": Subcommand(
        "the whole loop on this machine: servers, training, evaluation, report", "trainer", f"{_TRAINER}:demo"
    ),
    "train": Subcommand(
        "train on a folder of images, against running servers", "trainer", f"{_TRAINER}:train"
    ),
    "evaluate": Subcommand(
        "accuracy on labelled questions, through a running server", "trainer", f"{_TRAINER}:evaluate"
    ),
    "export": Subcommand(
        "write what a run trained as an adapter or as merged weights", "trainer", f"{_TRAINER}:export"
    ),
    "report": Subcommand(
        "write the HTML report of a run folder, or of two side by side", "trainer", f"{_TRAINER}:report"
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand with `arguments` (default: the process's own)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    listing = "\n".join(f"  {name:10s} {command.summary}" for name, command in SUBCOMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ireasoner",
        description="Reinforcement learning without labels for vision-language models.",
        epilog=f"commands:\n{listing}\n\n`ireasoner COMMAND --help` lists the flags of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=list(SUBCOMMANDS), metavar="COMMAND")
    name = parser.parse_args(words[:1]).command
    subcommand = SUBCOMMANDS[name]
    module, _, function = subcommand.function.partition(":")
    with needs_extra(subcommand.extra, command=f"ireasoner {name}"):
        getattr(import_module(module), function)(words[1:])


if __name__ == "__main__":
    main()
