"""Generates the servers' reference from their code: openapi.json, api.md, and the tables of settings on their pages.

`python -m scripts.server_docs` writes them; with `--check` it only lists those that are out of date.
"""

import json
import sys
from pathlib import Path

from pydantic_settings import BaseSettings

from ireasoner.reward_server.api.docs_page import as_markdown
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.settings import PREFIX as REWARD
from ireasoner.reward_server.settings import RewardServerSettings
from ireasoner.rollout_server.settings import PREFIX as ROLLOUT
from ireasoner.rollout_server.settings import RolloutServerSettings
from replication.generated_parts import filled_in

DOCS = Path(__file__).resolve().parents[1] / "docs"
_VLLMS = "vllm_flags"
"""The field that holds flags of others."""


def documents() -> dict[Path, str]:
    """The text of every generated document."""
    document = create_app(RewardServerSettings()).openapi()
    return {
        DOCS / "openapi.json": json.dumps(document, indent=2) + "\n",
        DOCS / "api.md": as_markdown(document),
        **{
            DOCS / page: filled_in((DOCS / page).read_text(), {name: settings_table(settings, prefix)})
            for page, name, settings, prefix in (
                ("operators.md", "settings", RewardServerSettings, REWARD),
                ("rollout_server.md", "rollout settings", RolloutServerSettings, ROLLOUT),
            )
        },
    }


def settings_table(settings: type[BaseSettings], prefix: str) -> str:
    """Flags, variables, defaults and meanings of a server's settings, in Markdown."""
    lines = ["| flag | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in settings.model_fields.items():
        if name == _VLLMS:
            continue
        flag = f"`--{name.replace('_', '-')}`"
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else "" if value is None else f"`{value}`"
        lines.append(f"| {flag} | `{prefix}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def main() -> int:
    """Writes or checks the documents; returns 1 if one is out of date."""
    stale = [file for file, text in documents().items() if not file.exists() or file.read_text() != text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.name} is out of date: python -m scripts.server_docs")
        return 1 if stale else 0
    for file, text in documents().items():
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
