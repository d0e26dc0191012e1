"""What the collector tells the reward server of each group, in updates of both roles; no servers, no training."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from ireasoner.trainer.evaluation.questions import Question
from ireasoner.trainer.loop.collector import Collector
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import Rollout, SamplingContract
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.views import GroupViews
from tests.trainer.test_rewards import Server, scored

PROPOSALS = ["<question>How many?</question>", "no question", "<question>Which?</question>"]


class Rollouts:
    """Answers 7 to everything, and proposes in turn; a group may hold a question twice."""

    def __init__(self) -> None:
        self._proposals = 0

    def sample(self, policy: str, requests: Sequence[Any], _: object) -> list[list[Rollout]]:
        return [[self._one(policy) for _ in range(request.count)] for request in requests]

    def _one(self, policy: str) -> Rollout:
        text = "<answer>7</answer>"
        if policy == "proposer":
            text = PROPOSALS[self._proposals % len(PROPOSALS)]
            self._proposals += 1
        return Rollout(text, (1,), (0.0,), (1,), "stop", policy, 0)


class Tokenizer:
    """Knows no control tokens."""

    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012

    def __call__(self, *_: object, **__: object) -> dict[str, list[int]]:
        return {"input_ids": []}


class Unchecked(Collector):
    """Prompts are another test's matter."""

    def _check_prompts(self, *_: object) -> None:
        pass


def answer(_: Path, question: str) -> Question | None:
    return Question(Path("a.png"), question, "7") if question == "How many?" else None


@pytest.fixture
def server() -> Server:
    return Server(lambda group: scored(group, 0.4))


@pytest.fixture
def collector(server: Server, tmp_path: Path) -> Collector:
    settings = RunSettings(
        model="m",
        images=tmp_path,
        run_folder=tmp_path / "run-1",
        updates=10,
        proposer_every=1,
        group_size=4,
        groups_per_update=3,
    )
    pictures = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(3)]
    client: Any = server
    parts: dict[str, Any] = {
        "images": SimpleNamespace(
            at=lambda update, count: [Group(tmp_path / f"{i}.png", each) for i, each in enumerate(pictures)]
        ),
        "processor": SimpleNamespace(tokenizer=Tokenizer()),
        "rollouts": Rollouts(),
        "publisher": None,
    }
    return Unchecked(
        settings,
        **parts,
        scorer=GroupScorer(client, settings.reward, 0, source=settings.source),
        shadow=ShadowLabels(answer),
        views=GroupViews((), None, seed=0, group_size=4, contrast_rollouts=4),
        contracts={role: SamplingContract(8) for role in ("solver", "proposer")},
    )


POLICIES: Any = {"solver": "solver", "proposer": "proposer"}


def test_a_solver_update(collector: Collector, server: Server) -> None:
    collected = collector.collect(2, POLICIES)
    assert collected.role == "solver"
    [(groups, context)] = server.posted
    assert [(each.question, each.labels) for each in groups] == [
        ("How many?", ["7"]),
        (None, None),
        ("Which?", None),
    ]
    assert server.images == [group.shown() for group in collected.groups]
    assert len({each.image for each in groups}) == 3
    assert (context["update"], context["source"]) == (2, "run-1")


def test_a_proposer_update(collector: Collector, server: Server) -> None:
    """A group of the Solver's answers per distinct question, each with its own image."""
    collected = collector.collect(1, POLICIES)
    assert collected.role == "proposer"
    [(groups, context)] = server.posted
    first, second = ("How many?", ["7"]), ("Which?", None)
    assert [(each.question, each.labels) for each in groups] == [first, second, second, first, second, first]
    assert server.images[::2] == [group.shown() for group in collected.groups]
    assert (context["update"], context["source"]) == (1, "run-1")


@pytest.mark.parametrize("update", [1, 2])
def test_no_image_is_encoded_for_a_server_that_keeps_none(
    collector: Collector, server: Server, update: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.takes_images = False
    encoded: list[Group] = []
    monkeypatch.setattr(Group, "shown", encoded.append)
    collector.collect(update, POLICIES)
    [(groups, _)] = server.posted
    assert {each.image for each in groups} == {None}
    assert (server.images, encoded) == ([], [])
