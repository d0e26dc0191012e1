"""The images to train on, as files."""

from pathlib import Path

from ireasoner.trainer.worlds.world import World


def write_images(folder: Path, world: World, count: int, seed: int) -> None:
    """`count` training images of a world as PNG files, and nothing else; done if they are there."""
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name, image in world.training_images(count, seed):
        image.save(partial / f"{name}.png")
    partial.rename(folder)
