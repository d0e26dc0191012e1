"""The command `ireasoner`: a table of subcommands, each of which imports only the part that it belongs to."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

from ireasoner.compat.extras import needs_extra
from ireasoner.compat.spelling import did_you_mean


@dataclass(frozen=True)
class Subcommand:
    """One subcommand.

    Args:
        summary: Its line in `ireasoner --help`.
        extra: The extras that install what it imports and starts, as pip takes them.
        function: `module:function`, called with the words after the subcommand.
    """

    summary: str
    extra: str
    function: str


_USAGE_ERROR = 2
_TRAINER = "ireasoner.trainer.commands.subcommands"
_REWARD_SERVER = "ireasoner.reward_server.commands"
SUBCOMMANDS: Mapping[str, Subcommand] = {
    "demo": Subcommand(
        "run the whole loop on this machine: servers, training, evaluation, report",
        "reward-server,trainer,cpu",
        f"{_TRAINER}:demo",
    ),
    "train": Subcommand(
        "train on unlabelled images, against running servers", "trainer", f"{_TRAINER}:train"
    ),
    "evaluate": Subcommand(
        "measure a served policy's accuracy on labelled questions", "trainer", f"{_TRAINER}:evaluate"
    ),
    "export": Subcommand(
        "write a trained adapter, or the base model merged with it", "trainer", f"{_TRAINER}:export"
    ),
    "graft": Subcommand(
        "give a language model eyes, to train real language on a CPU", "trainer", f"{_TRAINER}:graft"
    ),
    "report": Subcommand(
        "write the HTML report of one run folder, or of two side by side", "trainer", f"{_TRAINER}:report"
    ),
    "explore": Subcommand(
        "show the groups of one or several ledgers in a browser",
        "reward-server",
        f"{_REWARD_SERVER}.explore:main",
    ),
    "audit": Subcommand(
        "say whether runs look as if they collapse, and why", "reward-server", f"{_REWARD_SERVER}.audit:main"
    ),
    "atlas": Subcommand(
        "compare label-free rewards on your own labelled rollouts",
        "reward-server",
        f"{_REWARD_SERVER}.atlas:main",
    ),
    "import": Subcommand(
        "put the groups of past runs into a ledger", "reward-server", f"{_REWARD_SERVER}.import_:main"
    ),
    "rescore": Subcommand(
        "score a ledger's groups anew with another config, and compare",
        "reward-server",
        f"{_REWARD_SERVER}.rescore:main",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one subcommand with `arguments` (default: the process's own); without any, prints the help."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        _parser().print_help()
        return
    if words[0] == "--version":
        print(version("ireasoner"))
        return
    name = _parser().parse_args(words[:1]).command
    if name not in SUBCOMMANDS:
        meant = did_you_mean(name, SUBCOMMANDS) or f": it is one of {', '.join(SUBCOMMANDS)}"
        print(f"ireasoner: there is no command {name}{meant}", file=sys.stderr)
        sys.exit(_USAGE_ERROR)
    subcommand = SUBCOMMANDS[name]
    module, _, function = subcommand.function.partition(":")
    with needs_extra(subcommand.extra, command=f"ireasoner {name}"):
        run = getattr(import_module(module), function)
    run(words[1:])


def _parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:10s} {command.summary}" for name, command in SUBCOMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ireasoner",
        usage="ireasoner [-h] [--version] COMMAND ...",
        description="Reinforcement learning without labels for vision-language models.",
        epilog=f"commands:\n{listing}\n\n`ireasoner COMMAND --help` lists the flags of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", metavar="COMMAND", help="one of the commands below")
    return parser


if __name__ == "__main__":
    main()
