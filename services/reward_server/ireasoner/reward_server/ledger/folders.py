"""Which ledgers a folder holds."""

from pathlib import Path

from ireasoner.reward_server.ledger.schema import FILE


def ledger_folders(folder: Path) -> list[Path]:
    """The folder itself if it has a ledger, else its subfolders that have one: each replica has its own."""
    if (folder / FILE).is_file():
        return [folder]
    return sorted(each.parent for each in folder.glob(f"*/{FILE}"))
