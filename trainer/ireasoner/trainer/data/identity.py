"""What a dataset was when a run or an evaluation read it."""

from pydantic import BaseModel, ConfigDict


class Identity(BaseModel):
    """The dataset that rows came from.

    Attributes:
        address: Its path or hub id.
        subset: Its subset, if it has several.
        split: The split.
        commit: The commit of a dataset of the hub; None for files.
        files: Size in bytes of each local data file, by name; of a dataset of the hub, -1.
        fingerprint: `datasets`' fingerprint of the rows; None for a stream.
        column: The column that is used.
        rows: Number of rows; None if it is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    subset: str | None = None
    split: str | None = None
    commit: str | None = None
    files: dict[str, int] = {}
    fingerprint: str | None = None
    column: str | None = None
    rows: int | None = None

    def changes(self, now: "Identity") -> list[str]:
        """How the files of a stream differ now; its rows are compared when they are read again."""
        lines = []
        if self.commit != now.commit:
            lines.append(f"the dataset's commit: {self.commit} -> {now.commit}")
        elif self.commit is None and self.files != now.files:
            names = [
                name for name in {**self.files, **now.files} if self.files.get(name) != now.files.get(name)
            ]
            lines.append(
                f"{len(names)} data files: {names[0]} ({self.files.get(names[0], 0):,} -> "
                f"{now.files.get(names[0], 0):,} bytes)"
            )
        return lines
