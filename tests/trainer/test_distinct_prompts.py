"""Reading each prompt once gives the inputs of reading it for every rollout, to the bit."""

from typing import Any

import pytest
import torch
from PIL import Image

from ireasoner.trainer.adapters.backbone import load_processor
from ireasoner.trainer.loop.distinct_prompts import DistinctPrompts
from ireasoner.trainer.rollouts.prompts import solver_messages
from tests.conftest import MODEL

RED, BLUE = Image.new("RGB", (84, 84), "red"), Image.new("RGB", (56, 140), "blue")
SAME = RED.copy()

ROWS = {
    "one group": [(RED, "a?")] * 4,
    "two groups": [(RED, "a?")] * 2 + [(BLUE, "What is longer than this?")] * 3,
    "two questions about one image": [(RED, "a?"), (RED, "a?"), (RED, "b b b?"), (RED, "b b b?")],
    "one question about two images": [(RED, "a?"), (BLUE, "a?")],
    "rows of a group apart": [(RED, "a?"), (BLUE, "b?"), (RED, "a?")],
    "equal images that are two objects": [(RED, "a?"), (SAME, "a?")],
}


class Counting:
    """A processor that counts the rows it reads."""

    def __init__(self) -> None:
        self._processor = load_processor(str(MODEL))
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, **inputs: Any) -> Any:
        self.rows += len(inputs["text"])
        return self._processor(**inputs)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_inputs_are_those_of_every_row(rows: list[tuple[Image.Image, str]]) -> None:
    processor = Counting()
    texts = [
        processor.apply_chat_template(solver_messages(question), tokenize=False, add_generation_prompt=True)
        for _, question in rows
    ]
    images = [[picture] for picture, _ in rows]
    every = processor(images=images, text=texts, padding=True, return_tensors="pt")
    processor.rows = 0
    once = DistinctPrompts(processor)(images=images, text=texts, padding=True, return_tensors="pt")
    assert processor.rows == len({(id(picture), question) for picture, question in rows})
    assert once.keys() == every.keys()
    for name, value in every.items():
        assert torch.equal(once[name], value), name


def test_all_else_is_the_processors_own() -> None:
    processor = load_processor(str(MODEL))
    assert DistinctPrompts(processor).tokenizer is processor.tokenizer
