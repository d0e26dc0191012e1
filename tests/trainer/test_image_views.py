"""Views of an image: another image of the same scene, with no more tokens, from the seed alone."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from ireasoner.trainer.errors import ViewError
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.views.contrasts import blank, foreign
from ireasoner.trainer.views.image_views import brightness, crop, jpeg, pad, resize

Change = Callable[[Image.Image, Random], Image.Image]
CHANGES: list[Change] = [resize, pad, jpeg, crop, brightness]
SIZES = [(84, 84), (640, 400), (400, 640), (28, 28), (1, 1), (2, 300), (4000, 20), (20, 4000), (29, 5800)]


def scene(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_view_is_no_larger_and_no_thinner_than_the_image(change: Change, size: tuple[int, int]) -> None:
    for seed in range(5):
        viewed = change(scene(*size), Random(seed))
        assert viewed.mode == "RGB"
        assert viewed.width <= size[0]
        assert viewed.height <= size[1]
        rounding = 1 if max(size) < 2 * min(size) else 0  # a square may lose a pixel on one side only
        assert (max(viewed.size) - rounding) / min(viewed.size) <= max(size) / min(size)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_view_differs_from_the_image_and_depends_on_the_seed_alone(change: Change) -> None:
    picture = scene(120, 84)
    before = picture.tobytes()
    first, again = (change(picture, Random(1)) for _ in range(2))
    assert png_bytes(first) == png_bytes(again)
    assert len({png_bytes(change(picture, Random(seed))) for seed in range(20)}) > 5
    assert first.tobytes() != before
    assert picture.tobytes() == before, "the image itself is not changed"


def test_what_a_mild_crop_keeps_is_in_place() -> None:
    picture = scene(200, 100)
    for seed in range(20):
        cropped = crop(picture, Random(seed))
        lost = 200 - cropped.width, 100 - cropped.height
        assert 6 <= lost[0] <= 16
        assert 3 <= lost[1] <= 8
        assert any(
            picture.crop((x, y, x + cropped.width, y + cropped.height)).tobytes() == cropped.tobytes()
            for x in range(lost[0] + 1)
            for y in range(lost[1] + 1)
        )


def test_a_blank_image_has_the_size_and_nothing_else() -> None:
    shown, question, answer_map = blank(scene(30, 50), "What?", 0, 0)
    assert (shown.size, len(shown.getcolors() or ()), question, answer_map) == ((30, 50), 1, "What?", None)


def test_a_foreign_image_is_another_one_of_the_run(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for index, path in enumerate(paths):
        scene(8, 8 + index).save(path)
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    own = Image.open(copy).convert("RGB")
    view = foreign([*paths, copy, tmp_path / "missing.png"])
    chosen = [view(own, "What?", seed, 0) for seed in range(30)]
    assert {form[0].size for form in chosen if form} == {(8, 9), (8, 10), (8, 11)}
    with pytest.raises(ViewError, match="none of 2 images of the run differs"):
        foreign([copy, paths[0]])(own, "What?", 0, 0)
