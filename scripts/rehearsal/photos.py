"""Photos of many megapixels: gradients with noise, as JPEG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_ASPECT = 4 / 3


def write_photos(megapixels: Sequence[float], folder: Path, seed: int = 0) -> Path:
    """Writes one photo of 4:3 per number of megapixels (10^6 pixels)."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for index, area in enumerate(megapixels):
        height = round((area * 1e6 / _ASPECT) ** 0.5)
        width = round(height * _ASPECT)
        rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        columns = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
        colours = generator.random((2, 3), dtype=np.float32)
        pixels = 200 * (rows * colours[0] + columns * colours[1]) / 2
        pixels += generator.random((height, width, 1), dtype=np.float32) * 55
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}-{area:g}-megapixels.jpg", quality=90)
    return folder
