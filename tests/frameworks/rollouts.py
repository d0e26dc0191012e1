"""The groups of texts that every framework's test scores, in the formats of several models."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.reward_server.requests import rollout

Groups = dict[str, list[str]]
Result = TypeVar("Result")

GROUPS: Groups = {
    "How much is 3 + 4? Put the answer into <answer></answer>.": [
        rollout("7", "east", "north"),
        rollout("7", "northeast", "north"),
        rollout("7", "east", "east north north"),
        rollout("7", "nowhere"),
        rollout("8", "west"),
        rollout(None, "south"),
    ],
    "How much is 9 - 4?": [
        rollout("5", "south"),
        rollout("6", "west", "east"),
        rollout("5", "east north"),
        rollout("5", "east north"),
        rollout("9", "south"),
        rollout("6", "west", "northeast"),
    ],
}
"""By prompt. One group has a rollout from which the server abstains, the other has two equal rollouts."""
GROUP_SIZE = 6


@dataclass(frozen=True)
class Dialect:
    """The groups in the format of some model, and the config that reads it."""

    config: str | Mapping[str, object]
    groups: Groups

    @property
    def config_text(self) -> str:
        """The config in the form of a variable or URL."""
        return self.config if isinstance(self.config, str) else json.dumps(self.config)


def _written(text: str, answer: str) -> str:
    """A rollout of the paper's format with other element names; `answer` replaces its answer element."""
    text = re.sub("<answer>(.*)</answer>", answer, text)
    text = re.sub(r"(?:^|\n|(?<=<think>))Step \d+: (.*?)(?=\n|</think>)", r"<line>\1</line>", text)
    return text.replace("think>", "reasoning>")


def _dialect(answer: str, **config: object) -> Dialect:
    groups = {prompt: [_written(text, answer) for text in texts] for prompt, texts in GROUPS.items()}
    elements = {"think_tag": "reasoning", "step_tag": "line"}
    return Dialect({"preset": "paper", "alpha": 2.0, **elements, **config}, groups)


DIALECTS = {
    "paper": Dialect("paper", GROUPS),
    "tags": _dialect(r"<result>\1</result>", answer_tag="result"),
    "boxed": _dialect(r"So it is \\boxed{\1}.", answer_from="boxed"),
}


def in_each_dialect(run: Callable[[Dialect], Result]) -> dict[str, Result]:
    """The result of `run` for each dialect, with the dialect's config in the environment."""
    given = {}
    for name, dialect in DIALECTS.items():
        os.environ["IREASONER_REWARD_CONFIG"] = dialect.config_text
        given[name] = run(dialect)
    return given


def neutral(rewards: Sequence[float | None]) -> list[float]:
    """A group's rewards for a framework that needs numbers: the mean of the others replaces None."""
    known = [reward for reward in rewards if reward is not None]
    return [sum(known) / len(known) if reward is None else reward for reward in rewards]
