"""`read_image` gives the pixels that a person sees, and that the real vLLM gets from the same file."""

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from ireasoner.trainer.errors import UnreadableImageError
from ireasoner.trainer.images import png_bytes, read_image, shown_bytes
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import proposer_messages
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract

Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 60, 80
_RAMP = np.linspace(0, 255, WIDTH).astype(np.uint8)
_RGB = np.stack(
    [
        np.tile(_RAMP, (HEIGHT, 1)),
        np.tile(np.linspace(0, 255, HEIGHT).astype(np.uint8)[:, None], (1, WIDTH)),
        np.full((HEIGHT, WIDTH), 90, np.uint8),
    ],
    axis=-1,
)
_GREY = np.ascontiguousarray(np.tile(_RAMP, (HEIGHT, 1)))
_ALPHA = np.ascontiguousarray(np.tile(np.linspace(255, 0, HEIGHT).astype(np.uint8)[:, None], (1, WIDTH)))
_GREY_16 = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)

RGB = Image.fromarray(_RGB)
GREY = Image.fromarray(_GREY)
RGBA = Image.fromarray(np.dstack([_RGB, _ALPHA]))
LA = Image.merge("LA", [GREY, Image.fromarray(_ALPHA)])
PALETTE = RGB.quantize(32)
BITS = GREY.convert("1", dither=Image.Dither.NONE)


def three(grey: Any) -> Pixels:
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=-1)


def on_white(colours: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> Pixels:
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)


def with_hole(colours: Pixels, is_hole: npt.NDArray[np.bool_]) -> Pixels:
    return np.where(is_hole[..., None], np.uint8(255), colours)


def exif(orientation: int) -> Image.Exif:
    fields = Image.Exif()
    fields[0x0112] = orientation
    return fields


def png(depth: int, colour: int, rows: npt.NDArray[Any], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that Pillow cannot write itself."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, colour, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows.reshape(rows.shape[0], -1))
    body = b"".join(chunk(*extra) for extra in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + body
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def saved(image: Image.Image, **options: Any) -> Callable[[Path], object]:
    """Writes copies: Pillow keeps an encoder's settings in the image, and a TIFF of pages would take them."""

    def write(path: Path) -> None:
        pages = [page.copy() for page in options.get("append_images", ())]
        image.copy().save(path, **options | ({"append_images": pages} if pages else {}))

    return write


def content(raw: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(raw)


def lab() -> Image.Image:
    srgb, cielab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.applyTransform(RGB, ImageCms.buildTransform(srgb, cielab, "RGB", "LAB"))
    assert made is not None
    return made


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FRAMES = [Image.fromarray(np.roll(_RGB, 30 * index, axis=1)) for index in range(3)]
CLEAR_FRAMES = [Image.fromarray(np.dstack([np.asarray(frame), _ALPHA])) for frame in FRAMES]
PALETTE_RGB = np.asarray(PALETTE.convert("RGB"))
PALETTE_INDEX = np.asarray(PALETTE)

Case = tuple[Callable[[Path], object], Pixels, int]
"""Writes a file; the pixels that it shows; by how much a lossy format may differ."""

CASES: dict[str, Case] = {
    # transparency
    "rgba.png": (saved(RGBA), on_white(_RGB, _ALPHA), 1),
    "rgba.tif": (saved(RGBA), on_white(_RGB, _ALPHA), 1),
    "rgba.webp": (saved(RGBA, lossless=True, exact=True), on_white(_RGB, _ALPHA), 1),
    "rgba.avif": (saved(RGBA, quality=100), on_white(_RGB, _ALPHA), 12),
    "rgba.jp2": (saved(RGBA), on_white(_RGB, _ALPHA), 3),
    "la.png": (saved(LA), on_white(three(_GREY), _ALPHA), 1),
    "la.tif": (saved(LA), on_white(three(_GREY), _ALPHA), 1),
    "grey-hole.png": (saved(GREY, transparency=int(_RAMP[7])), with_hole(three(_GREY), _RAMP[7] == _GREY), 0),
    "palette-hole.png": (saved(PALETTE, transparency=3), with_hole(PALETTE_RGB, PALETTE_INDEX == 3), 0),
    "palette-alpha.png": (
        saved(PALETTE, transparency=bytes(range(0, 256, 8))),
        on_white(PALETTE_RGB, PALETTE_INDEX.astype(int) * 8),
        1,
    ),
    "palette-hole.gif": (saved(PALETTE, transparency=3), with_hole(PALETTE_RGB, PALETTE_INDEX == 3), 0),
    "bits-hole.png": (saved(BITS, transparency=0), np.full((HEIGHT, WIDTH, 3), 255, np.uint8), 0),
    "16-bit-hole.png": (
        content(png(16, 0, _GREY_16, (b"tRNS", struct.pack(">H", int(_GREY_16[0, 9]))))),
        with_hole(three(np.rint(_GREY_16 / 257)), _GREY_16[0, 9] == _GREY_16),
        0,
    ),
    "all-clear.png": (saved(Image.new("RGBA", (9, 9))), np.full((9, 9, 3), 255, np.uint8), 0),
    # 16 bits
    "16-bit.png": (saved(Image.fromarray(_GREY_16)), three(np.rint(_GREY_16 / 257)), 0),
    "16-bit.tif": (saved(Image.fromarray(_GREY_16)), three(np.rint(_GREY_16 / 257)), 0),
    "16-bit-big.tif": (saved(Image.fromarray(_GREY_16.astype(">u2"))), three(np.rint(_GREY_16 / 257)), 0),
    "16-bit.pgm": (
        content(b"P5 80 60 65535\n" + _GREY_16.astype(">u2").tobytes()),
        three(np.rint(_GREY_16 / 257)),
        0,
    ),
    "12-bit.pgm": (
        content(b"P5 80 60 4095\n" + (_GREY_16 >> 4).astype(">u2").tobytes()),
        three(np.rint(_GREY_16 / 257)),
        1,
    ),
    "16-bit-rgb.png": (content(png(16, 2, _RGB.astype(int) * 257)), _RGB, 0),
    "16-bit-rgba.png": (
        content(png(16, 6, np.dstack([_RGB, _ALPHA]).astype(int) * 257)),
        on_white(_RGB, _ALPHA),
        1,
    ),
    "16-bit-la.png": (
        content(png(16, 4, np.dstack([_GREY, _ALPHA]).astype(int) * 257)),
        on_white(three(_GREY), _ALPHA),
        1,
    ),
    "16-bit-turned.png": (
        content(png(16, 0, _GREY_16, (b"eXIf", exif(6).tobytes()[6:]))),
        np.rot90(three(np.rint(_GREY_16 / 257)), -1),
        0,
    ),
    # other colours
    "grey.jpg": (saved(GREY, quality=95), three(_GREY), 6),
    "grey.bmp": (saved(GREY), three(_GREY), 0),
    "palette.gif": (saved(PALETTE), PALETTE_RGB, 0),
    "palette.bmp": (saved(PALETTE), PALETTE_RGB, 0),
    "bits.png": (saved(BITS), three(np.where(_GREY > 127, 255, 0)), 0),
    "bits.tif": (saved(BITS, compression="group4"), three(np.where(_GREY > 127, 255, 0)), 0),
    "bits.pbm": (saved(BITS), three(np.where(_GREY > 127, 255, 0)), 0),
    "cmyk.tif": (saved(RGB.convert("CMYK")), _RGB, 1),
    "cmyk.jpg": (saved(RGB.convert("CMYK"), quality=98), _RGB, 12),
    "ycbcr.jpg": (saved(RGB.convert("YCbCr"), quality=98, subsampling=0), _RGB, 8),
    "ycbcr.tif": (saved(RGB.convert("YCbCr")), _RGB, 3),
    "lab.tif": (saved(lab()), _RGB, 40),
    "rgb-profile.png": (saved(RGB, icc_profile=PROFILE), _RGB, 0),
    "rgb.ppm": (saved(RGB), _RGB, 0),
    "rgb-lzw.tif": (saved(RGB, compression="tiff_lzw"), _RGB, 0),
    "progressive.jpg": (saved(RGB, quality=98, subsampling=0, progressive=True), _RGB, 8),
    # several frames: the first
    "frames.gif": (saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]), _RGB, 40),
    "frames.png": (saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]), _RGB, 0),
    "frames.webp": (saved(FRAMES[0], save_all=True, append_images=FRAMES[1:], lossless=True), _RGB, 1),
    "pages.tif": (saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]), _RGB, 0),
    "clear-frames.webp": (
        saved(CLEAR_FRAMES[0], save_all=True, append_images=CLEAR_FRAMES[1:], lossless=True),
        on_white(_RGB, _ALPHA),
        3,
    ),
    "camera.jpg": (
        saved(FRAMES[0], format="MPO", save_all=True, append_images=FRAMES[1:], quality=98, subsampling=0),
        _RGB,
        8,
    ),
    # odd, and fine
    "one-pixel.png": (saved(Image.new("RGB", (1, 1), "red")), np.array([[[255, 0, 0]]], np.uint8), 0),
    "really-webp.jpg": (saved(RGB, format="WEBP", lossless=True), _RGB, 1),
    "bad-exif.png": (saved(RGB, exif=b"Exif\0\0garbage"), _RGB, 0),
    "orientation-0.png": (saved(RGB, exif=exif(0)), _RGB, 0),
    "orientation-9.png": (saved(RGB, exif=exif(9)), _RGB, 0),
}

UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""How a stored picture is shown, by its orientation (EXIF 2.3, tag 0x0112)."""
for _orientation, _turn in UPRIGHT.items():
    CASES |= {
        f"turned-{_orientation}.png": (saved(RGB, exif=exif(_orientation)), _turn(_RGB), 0),
        f"turned-{_orientation}.tif": (saved(RGB, exif=exif(_orientation)), _turn(_RGB), 0),
        f"turned-{_orientation}.webp": (
            saved(RGB, exif=exif(_orientation), lossless=True),
            _turn(_RGB),
            1,
        ),
        f"turned-{_orientation}.jpg": (
            saved(RGB, exif=exif(_orientation), quality=98, subsampling=0),
            _turn(_RGB),
            8,
        ),
        f"turned-{_orientation}-la.png": (
            saved(LA, exif=exif(_orientation)),
            _turn(on_white(three(_GREY), _ALPHA)),
            1,
        ),
    }

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "float.tif": (saved(Image.fromarray(_GREY_16.astype(np.float32))), "floating-point numbers"),
    "32-bit.tif": (saved(Image.fromarray(_GREY_16.astype(np.int32))), "32-bit integers"),
    "page.eps": (saved(RGB, format="EPS"), "no image in one of the formats"),
    "text.png": (content(b"no image"), "no image in one of the formats"),
    "folder.png": (Path.mkdir, "it is a folder"),
    "missing.png": (lambda _: None, "No such file or directory"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_pixels_are_those_that_a_person_sees(name: str, tmp_path: Path) -> None:
    write, expected, tolerance = CASES[name]
    write(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.mode == "RGB"
    assert image.info == {}
    pixels = np.asarray(image)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_defined_pixels_is_refused_by_name(name: str, tmp_path: Path) -> None:
    write, reason = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(UnreadableImageError, match=f"^{tmp_path / name}: .*{reason}"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["turned-6.jpg", "rgba.png", "turned-3-la.png", "frames.gif", "rgba.webp", "ycbcr.tif"]
)
@pytest.mark.filterwarnings("ignore:::PIL")
def test_a_broken_file_is_read_or_refused_and_nothing_else(name: str, tmp_path: Path) -> None:
    CASES[name][0](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    dice = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for position in dice.integers(0, len(whole), 3):
            damaged[position] = dice.integers(256)
        (tmp_path / name).write_bytes(damaged[: dice.integers(1, len(whole))])
        with contextlib.suppress(UnreadableImageError):
            assert read_image(tmp_path / name).mode == "RGB"


def test_a_png_keeps_every_pixel(tmp_path: Path) -> None:
    image = Image.effect_noise((28, 28), 90).convert("RGB")
    path = tmp_path / "noise.png"
    path.write_bytes(png_bytes(image))
    assert read_image(path).tobytes() == image.tobytes()


TELLING = ("turned-6.jpg", "turned-2.webp", "turned-8-la.png", "rgba.png", "la.png")
"""Files that look otherwise to a reader that neither turns them nor lays them on white."""

Answer = tuple[tuple[int, ...], npt.NDArray[np.float64]]
"""Token ids and log-probabilities of a completion."""


@pytest.fixture
def client(rollout_url: str) -> Iterator[RolloutClient]:
    client = RolloutClient(rollout_url, retry_budget_s=5)
    yield client
    client.close()


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_vllm_gets_the_same_pixels_from_the_file_itself(client: RolloutClient, tmp_path: Path) -> None:
    """The file itself and the PNG that the trainer sends give equal log-probabilities.

    16-bit grey is left out: vLLM cuts it off. A picture that is not turned, or not laid on white, gives others.
    """
    names = [
        name
        for name in CASES
        if not name.startswith(("16-bit.", "16-bit-big", "12-bit", "16-bit-hole", "16-bit-turned"))
    ]
    for name in names:
        CASES[name][0](tmp_path / name)
    contract = SamplingContract(8, temperature=0.0)

    def logprobs(images: Mapping[str, bytes]) -> dict[str, Answer]:
        requests = [RolloutRequest(proposer_messages(), image, 1, 0) for image in images.values()]
        sampled = client.sample(client.models()[0], requests, contract)
        return {
            name: (rollout.token_ids, np.array(rollout.logprobs))
            for name, [rollout] in zip(images, sampled, strict=True)
        }

    def differing(other: dict[str, Answer]) -> set[str]:
        return {
            name
            for name, (tokens, theirs) in other.items()
            if tokens != trained[name][0] or np.abs(theirs - trained[name][1]).max() > 1e-4
        }

    trained = logprobs({name: png_bytes(read_image(tmp_path / name)) for name in names})
    assert differing(logprobs({name: (tmp_path / name).read_bytes() for name in names})) == set()
    careless = {name: png_bytes(Image.open(tmp_path / name).convert("RGB")) for name in TELLING}
    assert differing(logprobs(careless)) == set(TELLING)


@pytest.mark.parametrize(
    ("size", "shown", "form"),
    [
        ((8, 6), (8, 6), "PNG"),
        ((1024, 1024), (1024, 1024), "PNG"),
        ((1025, 1024), (1024, 1023), "JPEG"),
        ((4000, 3000), (1182, 886), "JPEG"),
        ((1, 2**21), (1, 2**15), "JPEG"),
    ],
)
def test_a_person_sees_no_more_than_a_megapixel(
    size: tuple[int, int], shown: tuple[int, int], form: str
) -> None:
    picture = Image.new("RGB", size, (10, 200, 30))
    png = png_bytes(picture) if form == "PNG" else b"not read"
    with Image.open(BytesIO(shown_bytes(picture, png))) as seen:
        assert (seen.format, seen.width * seen.height <= 2**20) == (form, True)
        assert seen.size == pytest.approx(shown, abs=1)
        assert seen.convert("RGB").getpixel((0, 0)) == pytest.approx((10, 200, 30), abs=3)
