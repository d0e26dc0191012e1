"""Images from another project, without labels: easy-vqa's, and odd ones beside them, through the whole loop."""

import json
import logging
import shutil
from pathlib import Path

import easy_vqa
import pytest
from PIL import Image
from rich.console import Console

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from tests.conftest import MODEL

IMAGES = Path(easy_vqa.__file__).parent / "data" / "train" / "images"


def copy_images(folder: Path) -> None:
    """Six images, four of them in other forms, and two that no run can use."""
    folder.mkdir()
    first, second, third, fourth, *others = sorted(IMAGES.iterdir())[:6]
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(first).convert("RGB").resize((3000, 2500)).save(folder / "photo.jpg", exif=turned)
    clear = Image.open(second).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(folder / "clear.png")
    Image.open(third).convert("I;16").save(folder / "scan.tif")
    Image.open(fourth).convert("RGB").resize((600, 4)).save(folder / "thin but usable.png")
    for path in others:
        shutil.copy(path, folder)
    (folder / "torn.png").write_bytes(b"\x89PNG torn off here")
    Image.new("RGB", (2010, 10)).save(folder / "thin.png")


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_any_folder_of_images_goes_through_the_loop(
    reward_url: str, rollout_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "images"
    copy_images(folder)
    settings = RunSettings(
        model=str(MODEL),
        images=folder,
        run_folder=tmp_path / "run",
        updates=4,
        proposer_every=1,
        group_size=3,
        groups_per_update=3,
        cpu_threads=1,
        lora={"dropout": 0.0},
        reward={"url": reward_url},
        rollout={"url": rollout_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
    )

    with (tmp_path / "console.txt").open("w") as console:
        run = train(settings, Console(file=console, width=200))

    assert f"images: 6 in {folder}, 2 left out" in (tmp_path / "console.txt").read_text()
    groups = list(read_lines(run.path / "groups.jsonl"))
    assert [group["role"] for group in groups] == (["solver"] * 3 + ["proposer"] * 3) * 2
    recorded = json.loads((run.path / "images.json").read_text())
    assert {Path(group["image"]).name for group in groups} == set(recorded["images"])
    assert set(recorded["left_out"]) == {"torn.png", "thin.png"}
    for group in groups:  # a tiny model may ask nothing about a photo
        asks = group["role"] == "proposer" or group["question"] is not None
        assert len(group["trained_on"]) == (3 if asks else 0)

    resumed = settings.model_copy(update={"resume": True})
    (folder / "photo.jpg").rename(folder / "renamed.jpg")
    with pytest.raises(ImagesError, match=r"1 added: renamed\.jpg\n  1 removed: photo\.jpg\n"):
        train(resumed, Console(quiet=True))
    with caplog.at_level(logging.WARNING):
        train(resumed.model_copy(update={"accept_changed_images": True}), Console(quiet=True))
    assert "1 removed: photo.jpg; the run goes on with another order of images" in caplog.text
