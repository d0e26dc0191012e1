"""Files that are written whole or not at all."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a file in UTF-8, and its folder if necessary; until it is complete, its name is `PATH.partial`.

    Raises:
        OSError: It cannot be written; a file that was there is unchanged.
    """
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
