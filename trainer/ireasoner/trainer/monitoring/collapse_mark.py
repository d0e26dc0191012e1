"""`collapse.json` of a run folder: where the guard saw the likely onset of collapse."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ireasoner.trainer.errors import RunFolderError

MARK = "collapse.json"


class CollapseMark(BaseModel):
    """The onset.

    Attributes:
        update: The update that showed it, from 1.
        signs: What showed it, each with its reason.
        checkpoint: The newest one before it, which is kept; None if there was none yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    update: int
    signs: dict[str, str]
    checkpoint: str | None


def read_mark(run_folder: Path) -> CollapseMark | None:
    """The mark of a run; None where there is none.

    Raises:
        RunFolderError: The file is not a mark.
    """
    path = run_folder / MARK
    try:
        return CollapseMark.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunFolderError(f"{path}: not a mark of collapse: {error}") from error
