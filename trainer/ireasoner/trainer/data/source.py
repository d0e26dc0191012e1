"""Where rows come from, and what is said when they cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ireasoner.trainer.data.address import TABLES, Kind
from ireasoner.trainer.data.bad_line import first_bad_line
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.shown_path import shown
from ireasoner.trainer.silenced import silenced


@dataclass(frozen=True, slots=True)
class Source:
    """An address of data.

    Attributes:
        setting: The setting that holds the address, for messages.
        address: The address.
        kind: What it is.
    """

    setting: str
    address: Path
    kind: Kind

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Names data that cannot be read, and silences `datasets`' own reports of it; every read of rows is in one.

        Raises:
            ImagesError: The block failed: what `datasets` raises for a broken file depends on the file.
        """
        try:
            with silenced("datasets", "huggingface_hub", "fsspec"):
                yield
        except ImagesError:
            raise
        except Exception as error:
            raise ImagesError(
                f"{self.setting}: {shown(self.address)} cannot be read: {self._reason(error)}"
            ) from error

    def _reason(self, error: Exception) -> str:
        if self.kind is Kind.TABLE and TABLES[self.address.suffix.lower()] == "json":
            bad = first_bad_line(self.address)
            if bad is not None:
                return bad
        cause = error
        while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        said = " ".join(f"{cause}".split()).rstrip(".") or type(cause).__name__
        if "corresponds to no data" in said:
            return (
                "it holds no file of the kind that is read" if self.kind is Kind.ARCHIVE else "it has no rows"
            )
        if "Config name is missing" in said:
            said = f"it has several subsets: set data.subset ({said})"
        if self.kind is Kind.HUB:
            return (
                f"{said}. It is no folder or file here; as a dataset of the hub it needs a network, or a copy that "
                "`datasets` keeps from an earlier run"
            )
        return said
