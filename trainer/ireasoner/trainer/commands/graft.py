"""The command `ireasoner graft`: a language model with eyes, as a checkpoint of Qwen2.5-VL's architecture."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rich.console import Console

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor
from ireasoner.trainer.commands.graft_card import graft_card
from ireasoner.trainer.commands.settings import GraftSettings
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.graft.checkpoint import graft, is_grafted
from ireasoner.trainer.graft.self_distillation import HELD_OUT, WarmStarted, warm_start
from ireasoner.trainer.graft.text_model import read_text_model
from ireasoner.trainer.graft.tower import read_held_out, train_tower
from ireasoner.trainer.loop.preflight import say_where
from ireasoner.trainer.loop.stop_signals import StopSignals
from ireasoner.trainer.monitoring.progress import progress_bar
from ireasoner.trainer.output_path import new_folder
from ireasoner.trainer.tiny_model.model import processor_with


def main(settings: GraftSettings, console: Console) -> None:
    """Grafts, prints how well the result sees, and writes it with a README.

    A signal ends the warm start after the update in progress; what it has learnt is written.

    Raises:
        SettingsError: The model cannot be grafted, or the output exists.
        RunInterrupted: A signal came; the folder is written.
    """
    with new_folder("output", settings.output) as folder:
        say_where(settings.model, console)
        grafted = is_grafted(settings.model)
        model, processor = _grafted(settings) if grafted else _with_tower(settings, console)
        with _threads(1):
            reading = read_held_out(model, processor)
        console.print(f"vision tower: {reading}", highlight=False, soft_wrap=True)
        with StopSignals("graft ends after this update or measurement and writes what was learnt") as signals:
            warmed = _warmed(model, processor, settings, console, signals)
            (warmed.model if warmed else model).save_pretrained(folder)
            processor.save_pretrained(folder)
            card = graft_card(settings, reading, warmed, tower_trained=not grafted)
            (folder / "README.md").write_text(card, encoding="utf-8")
    console.print(f"checkpoint in {settings.output}", highlight=False, soft_wrap=True)
    signals.check()


def _grafted(settings: GraftSettings) -> tuple[Any, Any]:
    """The model that an earlier graft wrote, and its processor."""
    if not settings.warm_start_updates:
        raise SettingsError(
            f"model: {settings.model} has a vision tower, so without a warm start nothing is left to do"
        )
    if "tower_updates" in settings.model_fields_set:
        raise SettingsError(f"tower_updates: {settings.model} has a vision tower, which is kept as it is")
    return load_backbone(settings.model, "auto").eval(), load_processor(settings.model)


def _with_tower(settings: GraftSettings, console: Console) -> tuple[Any, Any]:
    """The language model with a vision tower, trained, and the processor."""
    text = read_text_model(settings.model)
    processor = processor_with(text.tokenizer)
    model = graft(text, processor, settings.seed)
    with _threads(1), progress_bar(console) as bar:
        task = bar.add_task("vision tower", total=settings.tower_updates)
        train_tower(model, processor, settings.tower_updates, settings.seed, lambda: bar.advance(task))
    return model, processor


def _warmed(
    model: Any, processor: Any, settings: GraftSettings, console: Console, signals: StopSignals
) -> WarmStarted | None:
    """The warm-started model; None if no update of it is asked for."""
    if not settings.warm_start_updates:
        return None
    console.print(f"warm start: first it is measured on {HELD_OUT} held-out prompts", highlight=False)
    with _threads(settings.cpu_threads), progress_bar(console) as bar:
        task = bar.add_task("warm start", total=settings.warm_start_updates)

        def advance(divergence: float) -> None:
            bar.update(task, description=f"warm start, divergence {divergence:.3f}")
            bar.advance(task)

        warmed = warm_start(
            model,
            processor,
            settings.warm_start_updates,
            prompts_per_update=settings.prompts_per_update,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed,
            advance=advance,
            stopped=lambda: signals.received is not None,
        )
    after = f", {warmed.after} after" if warmed.after else ""
    console.print(
        f"warm start: divergence {warmed.before} before{after}, in nats per token",
        highlight=False,
        soft_wrap=True,
    )
    if warmed.after and warmed.after.own >= warmed.before.own:
        console.print("warm start: it did not help; give it more updates", style="yellow")
    return warmed


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Has torch use `count` threads while the block lasts; None for its own choice.

    The tower gets one: it is so small that a second one makes it slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
