"""The tiny text checkpoint and what is grafted of it; each is made once a session."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ireasoner.trainer.graft.checkpoint import graft
from ireasoner.trainer.graft.text_model import read_text_model
from ireasoner.trainer.graft.tower import train_tower
from ireasoner.trainer.tiny_model.model import processor_with
from tests.graft.tiny_text import build_folder

TOWER_UPDATES = 30


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """torch's second thread makes so small models slower, most of all where tests run in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5 text checkpoint."""
    return build_folder(tmp_path_factory.mktemp("text") / "tiny-qwen")


@pytest.fixture
def grafted(text_folder: Path) -> tuple[Any, Any]:
    """The grafted model with an untrained tower, and its processor."""
    text = read_text_model(str(text_folder))
    processor = processor_with(text.tokenizer)
    return graft(text, processor, seed=0), processor


@pytest.fixture(scope="session")
def seeing_folder(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose tower had a few updates."""
    folder = tmp_path_factory.mktemp("seeing") / "tiny-eyes"
    text = read_text_model(str(text_folder))
    processor = processor_with(text.tokenizer)
    model = graft(text, processor, seed=0)
    train_tower(model, processor, TOWER_UPDATES, seed=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
