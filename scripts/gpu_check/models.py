"""The models of the check: their shapes and processors; weights that nobody has here are random."""

import json
import shutil
from pathlib import Path
from typing import Any

from scripts.gpu_check import MODEL

_TOKEN_IDS = (
    "image_token_id",
    "video_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "eos_token_id",
    "pad_token_id",
)


def write_shape(shape: dict[str, Any], image_px: int, folder: Path) -> Path:
    """Writes a checkpoint without weights: a config, and the tiny model's processor with as many words as the config.

    Args:
        shape: Fields of the config.
        image_px: Area to which every image is resized, in pixels.
        folder: The new folder.
    """
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors", "README.md"))
    config = json.loads((folder / "config.json").read_text())
    for part, fields in shape.items():
        config[part].update(fields)
    layers = config["text_config"]["num_hidden_layers"]
    config["text_config"]["layer_types"] = ["full_attention"] * layers
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words, added = tokenizer["model"]["vocab"], tokenizer["added_tokens"]
    first = config["text_config"]["vocab_size"] - len(
        added
    )  # tokenizers numbers added tokens after all words
    words.update({f"<{index}>": index for index in range(len(words), first)})
    moved = {each["id"]: first + index for index, each in enumerate(added)}
    for each in added:
        each["id"] = moved[each["id"]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    generation = json.loads((folder / "generation_config.json").read_text())
    for fields in (config, config["text_config"], generation):
        fields.update({name: moved[fields[name]] for name in _TOKEN_IDS if fields.get(name) in moved})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    processor = json.loads((folder / "processor_config.json").read_text())
    for part in ("image_processor", "video_processor"):
        processor[part]["size"] = {"shortest_edge": image_px, "longest_edge": image_px}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder
