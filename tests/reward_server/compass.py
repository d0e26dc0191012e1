"""A policy checkpoint whose input embeddings are points of a compass, so cosines are known by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

# Lengths differ, because only directions may matter. "nowhere" has no direction.
POINTS = {
    "nowhere": (0.0, 0.0),
    "east": (2.0, 0.0),
    "north": (0.0, 2.0),
    "west": (-2.0, 0.0),
    "south": (0.0, -0.5),
    "northeast": (3.0, 3.0),
}


def write_compass(folder: Path) -> Path:
    """Writes the checkpoint into `folder`; returns the folder."""
    vocabulary = {word: index for index, word in enumerate(POINTS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="nowhere"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.array(list(POINTS.values()), "<f4")
    write_safetensors(folder / "model.safetensors", {"model.embed_tokens.weight": ("F32", table)})
    return folder


def write_safetensors(file: Path, tensors: dict[str, tuple[str, NDArray[Any]]]) -> None:
    """Writes a safetensors file; each tensor comes with the format's name of its type."""
    header, data = {}, b""
    for name, (kind, array) in tensors.items():
        begin = len(data)
        data += array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    encoded = json.dumps(header).encode()
    file.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
