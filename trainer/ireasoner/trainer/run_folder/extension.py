"""Extending a run: `--resume` with more updates than before."""

from ireasoner.trainer.run_folder.run_folder import read_settings
from ireasoner.trainer.settings import RunSettings


def extended(settings: RunSettings) -> RunSettings:
    """The settings of a resumed run, in which t, the progress, keeps the updates of the run's first start.

    An extended run is thus equal to what it was up to its former end; its further updates have t = 1.

    Raises:
        SettingsError: There is no run to resume.
    """
    if not settings.resume or settings.progress_updates is not None:
        return settings
    written = read_settings(settings.run_folder / "settings.json")
    first = written.get("progress_updates") or written.get("updates") or settings.updates
    return settings if first >= settings.updates else settings.model_copy(update={"progress_updates": first})
