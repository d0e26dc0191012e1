"""Images that are put while others are decoded: every wait ends, and memory is left for scoring."""

import io
import re
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from PIL import Image

from ireasoner.reward_server.errors import NoSuchRecord
from ireasoner.reward_server.ledger import decoding, images, served_image
from ireasoner.reward_server.ledger.images import NotAnImage
from ireasoner.reward_server.ledger.served_image import written_anew
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.ledger_records import wait_until
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running
from tests.reward_server.test_ledger_recording import crafted_png, put

MIB = 2**20


def noise(kind: str, **options: object) -> bytes:
    """An image that does not compress."""
    data = io.BytesIO()
    Image.effect_noise((300, 300), 80).convert("P" if kind == "GIF" else "RGB").save(data, kind, **options)
    return data.getvalue()


def many_scans() -> bytes:
    """A small JPEG that goes over its pixels 3,000 times."""
    data = noise("JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + 3_000 * last + data[-2:]


def large_png(side: int) -> bytes:
    return crafted_png(side, side, zlib.compress(bytes(side * (3 * side + 1)), 9))


LONG = {
    "a PNG": noise("PNG"),
    "a JPEG": noise("JPEG", quality=95),
    "a JPEG of many scans": many_scans(),
    "a GIF": noise("GIF"),
    "a BMP": noise("BMP"),
}


@pytest.mark.parametrize("data", LONG.values(), ids=LONG)
def test_decoding_ends_soon_after_its_deadline(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders look at the clock after each part of the bytes."""
    if data is not LONG["a JPEG of many scans"]:
        images.check_whole(data)
    looks = count()
    monkeypatch.setattr(images, "thread_time", lambda: next(looks) / 2)
    with pytest.raises(NotAnImage, match="longer than 10 s"):
        images.check_whole(data)
    assert next(looks) < 40, "nothing is read once the time is over"


@pytest.mark.parametrize("data", [LONG["a PNG"], noise("WEBP")], ids=["a PNG", "a WebP"])
def test_an_image_is_whole_however_busy_the_machine_is(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour passes between two looks at the clock on the wall, and the thread works for none of it."""
    hours = count()
    for name in ("monotonic", "time", "perf_counter"):
        monkeypatch.setattr(images, name, lambda: 3600.0 * next(hours), raising=False)
    images.check_whole(data)


def test_an_image_that_is_served_is_decoded_within_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count()
    monkeypatch.setattr(images, "thread_time", lambda: next(looks) / 2)
    with pytest.raises(NoSuchRecord, match="longer than 10 s"):
        written_anew("0" * 64, LONG["a PNG"])


class Decoder:
    """Stands still until `go` is set."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, module: ModuleType = images, name: str = "check_whole"
    ) -> None:
        self.go = threading.Event()
        self.begun = 0
        self._decode = getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *words: Any) -> Any:
        self.begun += 1
        assert self.go.wait(60)
        return self._decode(*words)


@contextmanager
def serving(compass: Path, folder: Path, max_held_bytes: int) -> Iterator[httpx.Client]:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=folder, max_held_bytes=max_held_bytes
    )
    with running(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http


def is_scored(http: httpx.Client) -> bool:
    body = {"groups": [group([rollout("7", "east"), rollout("8", "west")])]}
    return http.post("/score/solver", json=body).status_code == 200


def test_an_image_waits_for_others_until_a_deadline(
    compass: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(monkeypatch)
    with serving(compass, tmp_path / "ledger", 256 * MIB) as http, ThreadPoolExecutor(1) as pool:
        first: Future[httpx.Response] = pool.submit(put, http, large_png(64))
        wait_until(lambda: decoder.begun == 1)
        with monkeypatch.context() as patched:
            patched.setattr(decoding, "WAIT_DEADLINE_S", 0.1)
            refused = put(http, large_png(32))
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert is_scored(http)
        decoder.go.set()
        assert first.result().status_code == 200
        assert put(http, large_png(32)).status_code == 200


def held_bytes(http: httpx.Client) -> float:
    [held] = re.findall(r"^reward_held_bytes (\S+)$", http.get("/metrics").text, re.MULTILINE)
    return float(held)


@pytest.mark.parametrize("is_put", [True, False], ids=["put", "served"])
def test_an_image_that_is_decoded_after_its_429_is_counted_until_it_ends(
    compass: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_put: bool
) -> None:
    data = large_png(1_024)
    with serving(compass, tmp_path / "ledger", 256 * MIB) as http:
        if is_put:
            decoder = Decoder(monkeypatch)
        else:
            decoder = Decoder(monkeypatch, served_image, "written_anew")
            sha256 = put(http, data).json()["sha256"]
            wait_until(
                lambda: (
                    http.get(f"/ledger/images/{sha256}", headers={"if-none-match": f'"{sha256}"'}).status_code
                    == 304
                )
            )
        monkeypatch.setattr(decoding, "WAIT_DEADLINE_S", 1.0)
        refused = put(http, data) if is_put else http.get(f"/ledger/images/{sha256}")
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded"), refused.text
        assert decoder.begun == 1
        assert held_bytes(http) >= images.PIXEL_BYTES * 1_024**2
        decoder.go.set()
        wait_until(lambda: held_bytes(http) == 0)


def test_images_leave_a_third_of_the_memory_to_scoring(
    compass: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of 4,096 x 4,096 pixels takes 128 MiB while it is decoded."""
    decoder = Decoder(monkeypatch)
    with serving(compass, tmp_path / "one", 190 * MIB) as http:
        refused = put(http, large_png(4_096))
        assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large"), refused.text
    with serving(compass, tmp_path / "two", 220 * MIB) as http, ThreadPoolExecutor(1) as pool:
        first: Future[httpx.Response] = pool.submit(put, http, large_png(4_096))
        wait_until(lambda: decoder.begun == 1)
        other = bytes(15 * MIB)  # takes 30 MiB, for which all requests together have room
        refused = put(http, other)
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded"), refused.text
        assert is_scored(http)
        decoder.go.set()
        assert first.result().status_code == 200
        assert put(http, other).status_code == 422, "nothing is held any more, and it is no image"
