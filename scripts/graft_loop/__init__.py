"""What rewards do to the language of a grafted model: the runs behind the table of docs/graft.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
