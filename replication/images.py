"""The training images, as files."""

from pathlib import Path

from ireasoner.trainer.worlds.world import World


def write_images(folder: Path, world: World, count: int, seed: int) -> None:
    """Writes `count` training images of a world as PNG files into a new folder; an existing folder is kept."""
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name, image in world.training_images(count, seed):
        image.save(partial / f"{name}.png")
    partial.rename(folder)
