"""The functions of the lmms-eval task in digit_grids.yaml. They do not need this project to be installed."""

import re
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path("runs/grids/held_out")
PROMPT = (
    "Answer the question about the image. First reason in numbered steps, one on each line, "
    "inside <think> and </think>. Then give only the short final answer inside <answer> and </answer>.\n"
    "Question: {question}"
)


def doc_to_visual(doc: dict[str, Any]) -> list[Image.Image]:
    """The image of a question, which lmms-eval puts before the text."""
    return [Image.open(FOLDER / doc["image"]).convert("RGB")]


def doc_to_text(doc: dict[str, Any]) -> str:
    """The prompt of the Solver, word for word."""
    return PROMPT.format(question=doc["question"])


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the rollout has an answer, and whether it is right."""
    found = re.findall(r"<answer>(.*?)</answer>", results[0], re.DOTALL)
    return {
        "accuracy": float(bool(found) and found[-1].strip() == doc["answer"]),
        "format_rate": float(bool(found)),
    }
