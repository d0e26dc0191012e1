"""Images are decoded and written anew before they are served; what cannot be decoded is not served at all."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient

from ireasoner.reward_server.ledger import images, schema, served_image
from tests.reward_server.ledger_reading import reader

SCRIPT = b"<script>alert(1)</script>"


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (30, 20)) -> bytes:
    colours: dict[str, Any] = {
        "RGB": (200, 10, 10),
        "RGBA": (200, 10, 10, 128),
        "L": 90,
        "P": 3,
        "1": 1,
        "LA": (90, 10),
        "I;16": 900,
    }
    written = io.BytesIO()
    Image.new(mode, size, colours[mode]).save(written, kind)
    return written.getvalue()


def with_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SCRIPT.decode())
    written = io.BytesIO()
    Image.new("RGB", (4, 4)).save(written, "PNG", pnginfo=info)
    return written.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn to the right
    written = io.BytesIO()
    Image.new("RGB", (30, 20)).save(written, "JPEG", exif=exif)
    return written.getvalue()


def served(folder: Path, data: bytes) -> tuple[TestClient, str]:
    """A client of a ledger that has this image, whatever its bytes are; and its path."""
    sha256 = hashlib.sha256(data).hexdigest()
    connection = schema.open_to_write(folder)
    connection.execute("INSERT INTO images VALUES (?, '-', ?, 0)", (sha256, len(data)))
    connection.close()
    images.store(folder, sha256, data)
    return reader(folder), f"/ledger/images/{sha256}"


@pytest.mark.parametrize(
    ("data", "mode", "size"),
    [
        (encoded("PNG"), "RGB", (30, 20)),
        (encoded("PNG", "RGBA"), "RGBA", (30, 20)),
        (encoded("PNG", "LA"), "RGBA", (30, 20)),
        (encoded("PNG", "P"), "RGB", (30, 20)),
        (encoded("PNG", "1"), "RGB", (30, 20)),
        (encoded("PNG", "I;16"), "RGB", (30, 20)),
        (encoded("JPEG"), "RGB", (30, 20)),
        (encoded("JPEG", "L"), "RGB", (30, 20)),
        (encoded("WEBP"), "RGB", (30, 20)),
        (encoded("GIF", "P"), "RGB", (30, 20)),
        (encoded("BMP"), "RGB", (30, 20)),
        (encoded("PNG", size=(1, 1)), "RGB", (1, 1)),
        (encoded("PNG", size=(4_096, 16)), "RGB", (2_048, 8)),
        (turned(), "RGB", (20, 30)),
        (encoded("PNG") + SCRIPT, "RGB", (30, 20)),
        (with_text(), "RGB", (4, 4)),
    ],
)
def test_an_image_is_written_anew(tmp_path: Path, data: bytes, mode: str, size: tuple[int, int]) -> None:
    http, path = served(tmp_path, data)
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/webp"
    assert SCRIPT not in answer.content
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert (shown.format, shown.mode, shown.size) == ("WEBP", mode, size)
        assert not shown.getexif()


def test_its_headers_let_a_browser_keep_it_and_nothing_else(tmp_path: Path) -> None:
    http, path = served(tmp_path, encoded("PNG"))
    headers = http.get(path).headers
    assert headers["cache-control"] == "private, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    again = http.get(path, headers={"if-none-match": headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == headers["cache-control"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        SCRIPT,
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        encoded("PNG")[:40],
        encoded("JPEG")[:200],
        encoded("GIF", "P")[:20],
        encoded("PNG")[:60] + b"\0" * 100,
        encoded("TIFF"),
        encoded("ICO"),
        b"%PDF-1.4",
        encoded("PNG", "1", (5_000, 5_000)),
    ],
    ids=range(12),
)
def test_what_is_no_whole_image_is_not_found_and_the_answer_says_why(tmp_path: Path, data: bytes) -> None:
    http, path = served(tmp_path, data)
    answer = http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_record")
    assert "the image's file is damaged: " in answer.json()["detail"]
    assert str(tmp_path) not in answer.text


def test_an_image_whose_file_is_missing_is_not_found(tmp_path: Path) -> None:
    http, path = served(tmp_path, encoded("PNG"))
    images.image_file(tmp_path, path.rpartition("/")[2]).unlink()
    assert "missing" in http.get(path).json()["detail"]


@pytest.mark.parametrize("name", ["a" * 63, "A" * 64, "a" * 65, "..%2f" * 8, "%00", "g" * 64])
def test_a_name_that_is_no_hash_is_refused(tmp_path: Path, name: str) -> None:
    http, _ = served(tmp_path, encoded("PNG"))
    assert http.get(f"/ledger/images/{name}").status_code in (404, 422)


def test_pixels_are_bounded_as_when_they_are_put() -> None:
    assert served_image.LONGEST_SIDE**2 <= images.MAX_PIXELS
