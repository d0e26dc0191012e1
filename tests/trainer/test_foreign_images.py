"""Images from another project, without labels: easy-vqa's, through the whole loop."""

import shutil
from pathlib import Path

import easy_vqa
import pytest
from rich.console import Console

from ireasoner.trainer.loop.train import train
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from tests.conftest import MODEL

IMAGES = Path(easy_vqa.__file__).parent / "data" / "train" / "images"


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_any_folder_of_images_goes_through_the_loop(
    reward_url: str, rollout_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted(IMAGES.iterdir())[:6]:
        shutil.copy(path, folder)
    (folder / "torn.png").write_bytes(b"\x89PNG torn off here")
    settings = RunSettings(
        model=str(MODEL),
        images=folder,
        run_folder=tmp_path / "run",
        updates=2,
        proposer_every=1,
        group_size=3,
        groups_per_update=2,
        cpu_threads=1,
        lora={"dropout": 0.0},
        reward={"url": reward_url},
        rollout={"url": rollout_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
    )

    with (tmp_path / "console.txt").open("w") as console:
        run = train(settings, Console(file=console, width=200))

    assert "6 in" in (tmp_path / "console.txt").read_text()
    assert "1 unreadable" in (tmp_path / "console.txt").read_text()
    groups = list(read_lines(run.path / "groups.jsonl"))
    assert [group["role"] for group in groups] == ["solver"] * 2 + ["proposer"] * 2
    assert all(Path(group["image"]).parent == folder for group in groups)
    assert all(len(group["trained_on"]) == 3 for group in groups)
