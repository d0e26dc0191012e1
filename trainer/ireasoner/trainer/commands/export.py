"""The command `ireasoner export`: a trained adapter in a form that other software loads."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ireasoner.trainer.commands.model_card import base_model, model_card
from ireasoner.trainer.commands.settings import ExportSettings
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.output_path import new_folder
from ireasoner.trainer.run_folder.run_folder import read_settings


def main(settings: ExportSettings, console: Console) -> None:
    """Exports, and prints where to."""
    console.print(f"exported to {export(settings)}", highlight=False, soft_wrap=True)


def export(settings: ExportSettings) -> Path:
    """Writes the export with a model card; returns the folder, which appears only once it is complete.

    Raises:
        SettingsError: The folder contains no run, the run has no such adapter, or the output exists.
    """
    run = read_settings(settings.run_folder / "settings.json")
    adapter = _adapter(settings)
    with new_folder("output", settings.output) as folder:
        if settings.merged:
            _merge(run, adapter, folder)
        else:
            shutil.copytree(adapter, folder, dirs_exist_ok=True)
            _name_base_model(folder / "adapter_config.json", base_model(run["model"]))
        (folder / "README.md").write_text(model_card(settings, run), encoding="utf-8")
    return settings.output.expanduser()


def _adapter(settings: ExportSettings) -> Path:
    """The folder of the adapter: of the finished run, or of one of its checkpoints."""
    run, role = settings.run_folder, settings.role
    saved = {path.parent.name.removeprefix("checkpoint-"): path for path in run.glob(f"checkpoints/*/{role}")}
    if settings.checkpoint is not None:
        adapter = saved.get(settings.checkpoint)
    else:
        adapter = run / "final" / role
    if adapter is not None and (adapter / "adapter_config.json").is_file():
        return adapter
    known = ", ".join(sorted(saved, key=lambda name: (len(name), name))) or "none"
    if settings.checkpoint is not None:
        raise SettingsError(f"checkpoint: {run} has no checkpoint {settings.checkpoint}; it has {known}")
    raise SettingsError(
        f"{run} has no final/{role}: has the run ended? Export a checkpoint with --checkpoint; it has {known}"
    )


def _name_base_model(config: Path, name: str) -> None:
    """Names the base model in an adapter's config as the card does, without a path of this machine."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = name
    config.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _merge(run: Mapping[str, Any], adapter: Path, output: Path) -> None:
    """Writes the merged weights, and a processor that scales images as in training."""
    from peft import PeftModel

    from ireasoner.trainer.adapters.backbone import load_backbone, load_processor

    bounds = {name: run["rollout"].get(name) for name in ("min_pixels", "max_pixels")}
    processor = load_processor(run["model"], **bounds)
    backbone = load_backbone(run["model"], "auto")
    PeftModel.from_pretrained(backbone, str(adapter)).merge_and_unload().save_pretrained(output)
    processor.save_pretrained(output)
