"""A run at the size of a real model with random weights: `python -m scripts.rehearsal --tokenizer FOLDER`."""

from pathlib import Path

from ireasoner.compat import repairs

ROOT = Path(__file__).resolve().parents[2]

repairs.install()  # before transformers is imported: with a CPU build of torch, it needs torchvision's operators
