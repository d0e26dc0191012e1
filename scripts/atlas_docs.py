"""Generates the output that docs/atlas.md shows: `python -m scripts.atlas_docs`, after a change to the command."""

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np

from ireasoner.cli.__main__ import main as ireasoner
from replication.generated_parts import filled_in

PAGE = Path(__file__).resolve().parents[1] / "docs" / "atlas.md"
METHODS = "ttrl,ttrl-strict,empo,self-certainty,judge-bounded,co-rewarding"
"""The methods that the page shows; none has a step reward, so that its output depends on no embedder."""
_GROUPS, _ROLLOUTS = 120, 8
_CHECKPOINT = PAGE.parents[1] / "models" / "digit-grids"
"""The embedder that loads fastest."""


def example(groups: int = _GROUPS) -> str:
    """A made-up file of groups: in each, one false answer competes with the true one, and certainty tells a little."""
    rng = np.random.default_rng(20)
    return "".join(f"{json.dumps(_group(number, rng))}\n" for number in range(groups))


def _group(number: int, rng: np.random.Generator) -> dict[str, object]:
    label = int(rng.integers(10, 90))
    chance = rng.beta(2, 1.5)
    rollouts = []
    for index in range(_ROLLOUTS):
        right = rng.random() < chance
        answer = label if right else label + int(rng.choice([1, 1, 1, 2, 10]))
        certainty = round(float(rng.normal(12.5 if right else 12.0, 0.6)), 2)
        text = f"<think>\nStep 1: It adds up to {answer}.\n</think>\n<answer>{answer}</answer>"
        rollouts.append({"id": str(index), "text": text, "signals": {"self_certainty": certainty}})
    return {"id": f"q{number}", "labels": [str(label)], "rollouts": rollouts}


def output(*embedder: str) -> str:
    """What the command prints for the example."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
        file = Path(folder) / "groups.jsonl"
        file.write_text(example(), encoding="utf-8")
        with contextlib.suppress(SystemExit):
            ireasoner(["atlas", str(file), "--methods", METHODS, *embedder])
    return printed.getvalue()


def page(text: str, *embedder: str) -> str:
    """The page with this output brought up to date."""
    return filled_in(text, {"atlas": f"```text\n{output(*embedder)}```"})


def main() -> None:
    """Writes the page."""
    embedder = ("--embedder", "token-mean", "--token-mean-checkpoint", str(_CHECKPOINT))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), *embedder), encoding="utf-8")


if __name__ == "__main__":
    main()
