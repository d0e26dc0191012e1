"""What the demo finds out before it writes or starts anything."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from PIL import Image
from rich.console import Console

from ireasoner.trainer.commands.demo import _run_settings, main
from ireasoner.trainer.commands.service import LocalServer
from ireasoner.trainer.commands.settings import DemoSettings
from ireasoner.trainer.errors import ImagesError, SettingsError
from tests.conftest import MODEL


@pytest.fixture(autouse=True)
def _keeps_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def refused(folder: Path, error: type[Exception], message: str, **fields: Any) -> None:
    out = folder / "out" / "run"
    with pytest.raises(error, match=message):
        main(DemoSettings(out=out, model=str(MODEL), **fields), Console(quiet=True))
    assert not out.parent.exists()


class Waits(Exception):
    """The demo waits for its first server."""


@pytest.fixture
def happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the demo has started, up to its first wait, which raises `Waits`; its run folder is `run`."""
    happened: list[str] = []
    inputs = tmp_path / "run" / "inputs"

    class Server(LocalServer):
        def __enter__(self) -> Self:
            happened.append(f"start {self.name}, inputs written: {inputs.exists()}")
            return self

        def wait_until_ready(self, *_: object) -> None:
            raise Waits

    monkeypatch.setattr("ireasoner.trainer.commands.demo.LocalServer", Server)
    monkeypatch.setattr("ireasoner.trainer.commands.demo._GRIDS", 2)
    return happened


def test_the_demo_passes_its_own_checks(tmp_path: Path, happened: list[str]) -> None:
    """It starts both servers, writes its inputs meanwhile, and then waits for the servers."""
    with pytest.raises(Waits):
        main(DemoSettings(out=tmp_path / "run", evaluation_questions=2), Console(quiet=True))
    assert happened == [
        "start reward server, inputs written: False",
        "start rollout server, inputs written: False",
    ]
    assert {path.name for path in (tmp_path / "run" / "inputs").iterdir()} == {"unlabelled", "held_out"}


def test_few_images_do_for_few_groups(tmp_path: Path, happened: list[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.new("RGB", (84, 84)).save(images / f"{number}.png")
    with pytest.raises(ImagesError, match=r"3 usable images, fewer than the 16 .* lower groups_per_update"):
        main(DemoSettings(out=tmp_path / "run", images=images), Console(quiet=True))
    assert happened == []
    with pytest.raises(Waits):
        main(DemoSettings(out=tmp_path / "run", images=images, groups_per_update=3), Console(quiet=True))
    assert len(happened) == 2


def test_a_micro_batch_divides_an_update_of_fewer_groups(tmp_path: Path) -> None:
    config = tmp_path / "demo.toml"

    def divided(text: str) -> int | None:
        config.write_text(text)
        settings = DemoSettings(config=config, groups_per_update=3)
        return _run_settings(settings, tmp_path / "run", 1, 2).micro_batch_size

    assert divided("group_size = 8\nmicro_batch_size = 64") == 8
    assert divided("micro_batch_size = 10") == 5
    assert divided("group_size = 8") is None
    for wrong in (
        "micro_batch_size = 0",
        'micro_batch_size = "many"',
        'group_size = "many"\nmicro_batch_size = 8',
    ):
        with pytest.raises(SettingsError, match=r"micro_batch_size|group_size"):
            divided(wrong)


def test_several_visible_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    refused(tmp_path, SettingsError, "one process uses one GPU, and 2 are visible")


def test_a_gpu_that_torch_was_built_for_and_does_not_see_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a run would begin on the CPU without a word."""
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    refused(
        tmp_path, SettingsError, r"built for CUDA 13\.0 and sees no GPU \(CUDA_VISIBLE_DEVICES=1\): make one"
    )
    config = tmp_path / "demo.toml"
    config.write_text("[grpo]\nuse_cpu = false\n")
    refused(tmp_path, SettingsError, "sees no GPU", config=config)
    config.write_text("[grpo]\nuse_cpu = true\n[lora]\ntarget_modules = ['no_proj']\n")
    refused(tmp_path, SettingsError, r"lora\.target_modules: .*no_proj", config=config)


def test_a_layer_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "demo.toml"
    config.write_text('[lora]\ntarget_modules = ["no_proj"]\n')
    refused(tmp_path, SettingsError, r"lora\.target_modules: .*no_proj", config=config)


def test_questions_that_cannot_be_asked_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"image": "a.png", "question": "q<|im_end|>", "answer": "7"}))
    refused(tmp_path, ImagesError, r"none can be asked; line 1: .*<\|im_end\|>", questions=questions)
