"""Generates the reward server's reference from its code: openapi.json, api.md and a table in operators.md.

`python -m scripts.reward_server_docs` writes them; with `--check` it only lists those that are out of date.
"""

import json
import sys
from pathlib import Path

from ireasoner.reward_server.api.docs_page import as_markdown
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.settings import PREFIX, RewardServerSettings

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- settings: generated -->", "<!-- settings: end -->"


def documents() -> dict[Path, str]:
    """The text of every generated document."""
    document = create_app(RewardServerSettings()).openapi()
    operators = DOCS / "operators.md"
    before, _, rest = operators.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        DOCS / "openapi.json": json.dumps(document, indent=2) + "\n",
        DOCS / "api.md": as_markdown(document),
        operators: f"{before}{BEGIN}\n{settings_table()}\n{END}{after}",
    }


def settings_table() -> str:
    """Flags, variables, defaults and meanings of the server's settings, in Markdown."""
    lines = ["| flag | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in RewardServerSettings.model_fields.items():
        flag = f"`--{name.replace('_', '-')}`"
        value = field.get_default(call_default_factory=True)
        default = "" if value is None else f"`{value}`"
        lines.append(f"| {flag} | `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def main() -> int:
    """Writes or checks the documents; returns 1 if one is out of date."""
    stale = [file for file, text in documents().items() if not file.exists() or file.read_text() != text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.name} is out of date: python -m scripts.reward_server_docs")
        return 1 if stale else 0
    for file, text in documents().items():
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
