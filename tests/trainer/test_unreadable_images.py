"""Images that can no longer be read in the middle of a run: their groups are left out, and the run goes on."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import TrainerControl

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.image_groups import ImageGroups
from ireasoner.trainer.loop.image_order import ImageOrder
from ireasoner.trainer.run_folder.checkpoint import Checkpoints, read_state
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from tests.trainer.offline import OfflineRollouts, offline_settings, offline_trainer, reasoning

pytestmark = pytest.mark.timeout(300)


def say(policy: str, request: int, member: int) -> str:
    """Different questions about an image, and different answers to each."""
    if "proposer" in policy:
        return f"<question>What is the sum of row {1 + member % 3}?</question>"
    return reasoning(1 + request + member % 2)


def tear(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAKS: dict[str, Callable[[Path], object]] = {
    "No such file": Path.unlink,
    "truncated": tear,
    "it is a folder": replace_by_folder,
    "it was replaced: .* pixels are 2010 x 10 now": lambda path: Image.new("RGB", (2010, 10)).save(path),
    "no image in one of the formats": lambda path: path.write_text("moved"),
}


def order(settings: RunSettings) -> ImageOrder:
    paths = ImageFolder.scan(settings.images).paths
    return ImageOrder(paths, settings.groups_per_update, settings.seed)


def logs(settings: RunSettings, name: str) -> list[dict[str, Any]]:
    return list(read_lines(settings.run_folder / f"{name}.jsonl"))


@pytest.mark.parametrize("reason", BREAKS)
def test_the_group_is_left_out_counted_and_named(
    reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = offline_settings(tmp_path, updates=2, groups_per_update=3)
    trainer = offline_trainer(settings, OfflineRollouts(say))
    broken, *others = order(settings).at(0)
    BREAKS[reason](broken)

    with caplog.at_level(logging.WARNING):
        trainer.go()

    groups = logs(settings, "groups")
    assert [group["image"] for group in groups if group["update"] == 0] == [str(path) for path in others]
    assert len([group for group in groups if group["update"] == 1]) == 3
    assert [line["solver/groups_left_out"] for line in logs(settings, "metrics")] == [1, 0]
    assert [line["solver/rollouts_trained"] for line in logs(settings, "metrics")] == [8, 12]
    [message] = [record.message for record in caplog.records if "left out" in record.message]
    assert str(broken) in message
    assert re.search(reason, message)


@pytest.mark.parametrize("update", [0, 1], ids=["solver", "proposer"])
def test_an_update_without_any_group_moves_no_weight(update: int, tmp_path: Path) -> None:
    settings = offline_settings(tmp_path, updates=3, proposer_every=1)
    trainer = offline_trainer(settings, OfflineRollouts(say))
    [broken] = order(settings).at(update)
    broken.unlink()
    weights: list[dict[str, torch.Tensor]] = []
    after_update = trainer.after_update

    def remember(control: TrainerControl) -> None:
        after_update(control)
        weights.append({name: weight.clone() for name, weight in trainer.model.state_dict().items()})

    first = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.after_update = remember  # type: ignore[method-assign]
    trainer.go()

    moved = [
        any(not after[name].equal(before[name]) for name in after)
        for before, after in zip([first, *weights], weights, strict=False)
    ]
    assert moved == [number != update for number in range(3)]
    assert [group["update"] for group in logs(settings, "groups")] == [n for n in range(3) if n != update]
    assert [line["update"] for line in logs(settings, "metrics")] == [1, 2, 3]


def test_too_many_consecutive_ones_end_the_run_saved(tmp_path: Path) -> None:
    settings = offline_settings(
        tmp_path, updates=8, save_every=100, max_consecutive_unreadable_images=2, seed=5
    )
    trainer = offline_trainer(settings, OfflineRollouts(say))
    images = order(settings)
    gone = {path: path.read_bytes() for update in range(2, 5) for path in images.at(update)}
    for path in gone:
        path.unlink()

    with pytest.raises(
        ImagesError, match=r"update 5: 3 consecutive images cannot be read .*; the last one is "
    ):
        trainer.go()

    newest = Checkpoints(settings.run_folder / "checkpoints", keep=2, every=1).newest()
    assert newest is not None
    assert read_state(newest).update == 4
    for path, content in gone.items():
        path.write_bytes(content)
    resumed = settings.model_copy(update={"resume": True})
    offline_trainer(resumed, OfflineRollouts(say)).go()
    assert [group["update"] for group in logs(settings, "groups")] == [0, 1, 4, 5, 6, 7]


def test_a_readable_image_ends_the_count(tmp_path: Path) -> None:
    settings = offline_settings(tmp_path)
    folder, images = ImageFolder.scan(settings.images), order(settings)
    for update in (0, 1, 3, 4, 6, 7):
        images.at(update)[0].unlink()
    groups = ImageGroups(folder, images, max_consecutive_unreadable=2)
    assert [len(groups.at(update, 1)) for update in range(8)] == [0, 0, 1, 0, 0, 1, 0, 0]
    with pytest.raises(ImagesError, match="3 consecutive images"):
        groups.at(0, 1)


@pytest.mark.parametrize(
    ("divisor", "broken", "left"), [(1, 1, 5), (2, 1, 4), (2, 2, 4), (4, 3, 0), (3, 0, 6)]
)
def test_processes_share_the_rows_that_are_left_evenly(
    divisor: int, broken: int, left: int, tmp_path: Path
) -> None:
    settings = offline_settings(tmp_path, groups_per_update=6)
    folder, images = ImageFolder.scan(settings.images), order(settings)
    for path in images.at(0)[:broken]:
        path.unlink()
    groups = ImageGroups(folder, images, 10, divisor)
    assert len(groups.shared(groups.at(0, 6))) == left
