"""The command `ireasoner graft`: a language model with eyes, as a checkpoint of Qwen2.5-VL's architecture."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ireasoner.trainer.adapters.backbone import load_backbone, load_config, load_processor
from ireasoner.trainer.commands.graft_card import graft_card
from ireasoner.trainer.commands.settings import GraftSettings
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.graft.checkpoint import graft
from ireasoner.trainer.graft.self_distillation import WarmStarted, warm_start
from ireasoner.trainer.graft.text_model import read_text_model
from ireasoner.trainer.graft.tower import Reading, read_held_out, train_tower
from ireasoner.trainer.loop.preflight import ARCHITECTURE, say_where
from ireasoner.trainer.monitoring.progress import progress_bar
from ireasoner.trainer.output_path import new_folder
from ireasoner.trainer.tiny_model.model import processor_with

_THREADS = torch.get_num_threads()
"""torch's own choice."""


def main(settings: GraftSettings, console: Console) -> None:
    """Grafts, prints how well the result sees, and writes it with a README.

    Raises:
        SettingsError: The model cannot be grafted, or the output exists.
    """
    with new_folder("output", settings.output) as folder:
        say_where(settings.model, console)
        model, processor, reading = _with_eyes(settings, console)
        console.print(f"vision tower: {reading}", highlight=False, soft_wrap=True)
        warmed = _warmed(model, processor, settings, console)
        if warmed is not None:
            console.print(f"warm start: {warmed}", highlight=False, soft_wrap=True)
            model = warmed.model
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / "README.md").write_text(graft_card(settings, reading, warmed), encoding="utf-8")
    console.print(f"checkpoint in {settings.output}", highlight=False, soft_wrap=True)


def _with_eyes(settings: GraftSettings, console: Console) -> tuple[Any, Any, Reading]:
    """The model with its vision tower, the processor, and how well the tower reads held-out handwriting."""
    if _has_eyes(settings.model):
        if not settings.warm_start_updates:
            raise SettingsError(
                f"model: {settings.model} has a vision tower, so without a warm start nothing is left to do"
            )
        model, processor = load_backbone(settings.model, "auto").eval(), load_processor(settings.model)
        return model, processor, read_held_out(model, processor)
    text = read_text_model(settings.model)
    processor = processor_with(text.tokenizer)
    model = graft(text, processor, settings.seed)
    torch.set_num_threads(1)  # a second thread makes so small a model slower
    with progress_bar(console) as bar:
        task = bar.add_task("vision tower", total=settings.tower_updates)
        reading = train_tower(
            model, processor, settings.tower_updates, settings.seed, lambda: bar.advance(task)
        )
    return model, processor, reading


def _has_eyes(model: str) -> bool:
    """Whether a model is a folder or hub id of Qwen2.5-VL's architecture."""
    return not Path(model).expanduser().is_file() and load_config(model).model_type == ARCHITECTURE


def _warmed(model: Any, processor: Any, settings: GraftSettings, console: Console) -> WarmStarted | None:
    """The warm-started model; None if no update of it is asked for."""
    if not settings.warm_start_updates:
        return None
    torch.set_num_threads(settings.cpu_threads or _THREADS)
    with progress_bar(console) as bar:
        task = bar.add_task("warm start", total=settings.warm_start_updates)
        return warm_start(
            model,
            processor,
            settings.warm_start_updates,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed,
            advance=lambda: bar.advance(task),
        )
