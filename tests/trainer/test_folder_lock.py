"""Two processes that write to one folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from ireasoner.trainer.errors import RunFolderError
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.run_folder.lock import sole_writer
from ireasoner.trainer.settings import RunSettings

HOLD = """
import sys, time
from pathlib import Path
from ireasoner.trainer.run_folder.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_has_one_writer_and_a_killed_process_releases_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(RunFolderError, match=f"{folder} is being written to by another process"),
            sole_writer(folder),
        ):
            pytest.fail("two processes hold the lock")
    finally:
        other.kill()
        other.communicate()
    with sole_writer(folder):
        pass
    with sole_writer(folder):
        pass


def test_two_processes_cannot_train_one_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    Image.new("RGB", (84, 84)).save(tmp_path / "black.png")
    settings = RunSettings(model="models/digit-grids", images=tmp_path, run_folder=run)
    with sole_writer(run), pytest.raises(RunFolderError, match="being written to by another process"):
        train(settings, Console(quiet=True))
    assert not (run / "settings.json").exists()
