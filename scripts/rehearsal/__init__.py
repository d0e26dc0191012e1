"""A run at the size of a real model with random weights: `python -m scripts.rehearsal --tokenizer FOLDER`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
