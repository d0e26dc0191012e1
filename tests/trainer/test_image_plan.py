"""A dry run compares images and texts with the model context, and knows who states it."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from rich.console import Console

from ireasoner.trainer.adapters import architecture
from ireasoner.trainer.adapters.architecture import prompt_inputs
from ireasoner.trainer.adapters.backbone import load_processor
from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.commands.image_plan import image_plan
from ireasoner.trainer.commands.service import free_ports
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images import ImageSizeCheck
from ireasoner.trainer.loop.usable_images import text_tokens
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import RunSettings
from tests.conftest import MODEL

QUIET = Console(quiet=True)


def settings(folder: Path, **rollout: Any) -> RunSettings:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for width, height in ((56, 56), (280, 168)):
        Image.new("RGB", (width, height)).save(images / f"{width}.png")
    bounds = {"min_pixels": 784, "max_pixels": 784 * 100, "solver_max_tokens": 64, "proposer_max_tokens": 24}
    return RunSettings(
        model=str(MODEL), images=images, run_folder=folder / "run", rollout={**bounds, **rollout}
    )


@pytest.fixture
def served() -> Iterator[tuple[str, list[Any]]]:
    """The address of a server, and the models that it lists."""
    models: list[Any] = []

    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": models}).encode()
            self.send_response(200 if self.path == "/v1/models" and models else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", models
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_models_own_context_counts_where_none_is_stated(tmp_path: Path) -> None:
    found = image_plan(settings(tmp_path), QUIET)
    assert (found.context_tokens, found.context_source) == (
        1024,
        "of the model; a rollout server can have less",
    )
    assert (found.largest_tokens, found.mean_tokens) == (60, 32)
    own = load_processor(str(MODEL))
    assert found.text_tokens == text_tokens(own, settings(tmp_path))


def test_a_stated_context_is_compared(tmp_path: Path) -> None:
    longest = image_plan(settings(tmp_path), QUIET).text_tokens
    assert longest is not None
    fitting = image_plan(settings(tmp_path, context_tokens=longest + 60), QUIET)
    assert (fitting.context_tokens, fitting.context_source) == (longest + 60, "by rollout.context_tokens")
    with pytest.raises(ImagesError, match=r"280.png does not fit: .* has room for 59 "):
        image_plan(settings(tmp_path, context_tokens=longest + 59), QUIET)


def test_the_context_of_a_named_server_is_read(
    tmp_path: Path, served: tuple[str, list[dict[str, Any]]]
) -> None:
    url, models = served
    models.append({"id": "base", "max_model_len": 300})
    assert image_plan(settings(tmp_path, url=url), QUIET).context_source == f"of {url}"
    assert image_plan(settings(tmp_path, url=url), QUIET).context_tokens == 300
    smaller = image_plan(settings(tmp_path, url=url, context_tokens=299), QUIET)
    assert (smaller.context_tokens, smaller.context_source) == (299, "by rollout.context_tokens")
    larger = image_plan(settings(tmp_path, url=url, context_tokens=900), QUIET)
    assert larger.context_tokens == 300


def test_a_server_that_does_not_answer_or_say_leaves_the_models_own(
    tmp_path: Path, served: tuple[str, list[Any]]
) -> None:
    url, models = served
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    for silent in (url, nobody):
        found = image_plan(settings(tmp_path, url=silent), QUIET)
        assert (found.context_tokens, found.context_source) == (
            1024,
            f"of the model; {silent} did not answer or say",
        )
    for odd in ({"id": "base"}, "base", ["base"], None):
        models[:] = [odd]
        assert image_plan(settings(tmp_path, url=url), QUIET).context_tokens == 1024


def test_a_server_whose_answer_is_no_object_leaves_the_models_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = {"data": [{"max_model_len": "long"}, {"max_model_len": 3}]}
    bodies: list[Any] = [[], "base", None, {"data": None}, mixed]
    for body in bodies:
        answer = httpx.Response(200, json=body)
        monkeypatch.setattr(RolloutClient, "request", lambda *_, answer=answer: answer)
        assert image_plan(settings(tmp_path, url="http://a"), QUIET).context_tokens == 1024


def test_each_size_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageSizeCheck, "_counts_patches", False)
    sizes: list[tuple[int, int]] = []

    def counted(processor: Any, image: Image.Image) -> Any:
        sizes.append(image.size)
        return prompt_inputs(processor, image)

    monkeypatch.setattr(architecture, "prompt_inputs", counted)
    found = image_plan(settings(tmp_path), QUIET)
    assert (found.largest_tokens, found.mean_tokens) == (60, 32)
    assert [sizes.count(size) for size in ((56, 56), (280, 168))] == [1, 1]


def test_a_dry_run_refuses_an_image_beyond_the_context(tmp_path: Path) -> None:
    shown = io.StringIO()
    with pytest.raises(ImagesError, match=r"set rollout.max_pixels .* to \d+ or less"):
        show_plan(settings(tmp_path, context_tokens=150), Console(file=shown))
    assert "total memory" not in shown.getvalue()
