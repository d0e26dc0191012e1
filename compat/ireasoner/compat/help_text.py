"""What `--help` of a command looks like."""

import argparse
import inspect
import re


class HelpText(argparse.RawDescriptionHelpFormatter):
    """Prints a class's docstring without its indentation, and omits defaults that are None or empty."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return super()._fill_text(inspect.cleandoc(text), width, indent)

    def _expand_help(self, action: argparse.Action) -> str:
        return re.sub(
            r" \(default(?: factory: dict|: (?:None|null|\(\)))\)$", "", super()._expand_help(action)
        )
