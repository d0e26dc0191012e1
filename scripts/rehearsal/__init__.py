"""A run at the size of a real model with random weights: `python -m scripts.rehearsal --tokenizer FOLDER`."""

from pathlib import Path

import ireasoner.trainer  # noqa: F401  before transformers: it makes torchvision importable

ROOT = Path(__file__).resolve().parents[2]
