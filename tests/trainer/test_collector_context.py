"""What the collector tells the reward server of each group, in updates of both roles; no servers, no training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from ireasoner.trainer.adapters.publisher import AdapterPublisher
from ireasoner.trainer.evaluation.questions import Question
from ireasoner.trainer.loop.collector import Collector
from ireasoner.trainer.loop.image_groups import ImageGroups
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.needs import NOTHING, Needs
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

    def base_model(self) -> str:
        return "base"

    def _one(self, policy: str) -> Rollout:
        text = "<answer>0.5</answer>" if policy == "base" else "<answer>7</answer>"
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


def collector_of(
    server: Server, tmp_path: Path, needs: Needs = NOTHING, divisor: int = 1, **reward: Any
) -> Collector:
    settings = RunSettings(
        model="m",
        images=tmp_path,
        run_folder=tmp_path / "run-1",
        updates=10,
        proposer_every=1,
        group_size=4,
        groups_per_update=3,
        reward=reward,
    )
    pictures = {tmp_path / f"{i}.png": Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3)}
    client: Any = server
    parts: dict[str, Any] = {
        "images": ImageGroups(
            SimpleNamespace(read=pictures.__getitem__),
            SimpleNamespace(at=lambda _: list(pictures)),
            max_consecutive_unreadable=0,
            divisor=divisor,
        ),
        "processor": SimpleNamespace(tokenizer=Tokenizer()),
        "rollouts": Rollouts(),
        "publisher": AdapterPublisher(client, tmp_path),
    }
    return Unchecked(
        settings,
        **parts,
        scorer=GroupScorer(client, settings.reward, 0, source=settings.source),
        shadow=ShadowLabels(answer),
        views=GroupViews((), None, seed=0, group_size=4, contrast_rollouts=4),
        contracts={role: SamplingContract(8) for role in ("solver", "proposer")},
        needs=needs,
    )


@pytest.fixture
def collector(server: Server, tmp_path: Path) -> Collector:
    return collector_of(server, tmp_path)


POLICIES: Any = {"solver": "solver", "proposer": "proposer", "teacher": "teacher"}


def test_a_solver_update(collector: Collector, server: Server) -> None:
    collected = collector.collect(2, POLICIES)
    assert collected.role == "solver"
    [(groups, context)] = server.posted
    assert [(each.question, each.labels) for each in groups] == [("How many?", ["7"]), ("Which?", None)]
    assert server.images == [group.shown() for group in collected.groups]
    assert len({each.image for each in groups}) == 2
    assert (context["update"], context["source"]) == (3, "run-1")


def test_a_proposal_without_a_question_leaves_its_group_out(collector: Collector) -> None:
    """Nothing is sampled for it, and its text is kept."""
    sampled: list[Any] = []
    rollouts = Rollouts()

    def sample(policy: str, requests: Sequence[Any], contract: object) -> list[list[Rollout]]:
        sampled.append((policy, len(requests)))
        return rollouts.sample(policy, requests, contract)

    collector._sampler._rollouts = SimpleNamespace(sample=sample)  # type: ignore[assignment]
    collected = collector.collect(2, POLICIES)
    assert sampled == [("proposer", 3), ("solver", 2)]
    assert [group.question for group in collected.groups] == ["How many?", "Which?"]
    left_out = collected.recorded[1]
    assert (left_out.question, left_out.rollouts, left_out.rewards) == (None, [], [])
    assert (left_out.record["proposal"], left_out.record["rollouts"]) == ("no question", [])
    asked = collected.groups[0].record
    assert asked["proposal"] == "<question>How many?</question>"
    assert set(left_out.record) == set(asked) - {"shadow"}
    assert collected.metrics["groups_left_out"] == [1]
    assert collected.metrics["proposals_without_question"] == [pytest.approx(1 / 3)]


def test_processes_share_what_is_left(server: Server, tmp_path: Path) -> None:
    """Of two groups with a question, three processes can share none."""
    collected = collector_of(server, tmp_path, divisor=3).collect(2, POLICIES)
    assert (collected.groups, server.posted) == ([], [])
    assert [group.record["proposal"] for group in collected.recorded] == PROPOSALS
    assert not any(group.rollouts for group in collected.recorded)
    assert collected.metrics["groups_left_out"] == [3]


def test_a_solver_update_with_a_judge_a_signal_and_a_teacher(server: Server, tmp_path: Path) -> None:
    """What was sampled is posted, recorded and logged."""
    needs = Needs(frozenset({"judge", "sum_logprob"}), voters=True)
    collected = collector_of(server, tmp_path, needs, voters="teacher").collect(2, POLICIES)
    [(posted, _)] = server.posted
    assert [len(each.rollouts) for each in posted] == [4] * 4
    assert [each.voters is not None for each in posted] == [True, True, False, False]
    signals = {"judge": 0.5, "sum_logprob": 0.0}
    assert posted[0].rollouts[0].signals == signals
    asked = collected.groups[0].record
    assert asked["voters"]["rollouts"][0] == {"text": "<answer>7</answer>", "policy": "teacher", "seed": 0}
    assert asked["rollouts"][0]["judgement"] == {"score": 0.5, "reply": "<answer>0.5</answer>"}
    assert asked["rollouts"][0]["signals"] == signals
    logged = {
        name: values for name, values in collected.metrics.items() if name.startswith(("signal", "voters"))
    }
    assert logged == {
        "signal/judge": [0.5],
        "signal/sum_logprob": [0.0],
        "voters/dominant_share": [0.0],
        "voters/outcome": [0.4],
    }
    assert len(collected.metrics["seconds/measure"]) == len(collected.metrics["seconds/score"]) == 1


def test_nothing_is_timed_that_is_not_measured(collector: Collector) -> None:
    assert "seconds/measure" not in collector.collect(2, POLICIES).metrics


def test_components_are_logged_apart(server: Server, collector: Collector) -> None:
    def judge(group: Any) -> Any:
        one = scored(group, 0.4)
        rollouts = tuple(replace(each, components={"consensus": 0.5, "length": 0.8}) for each in one.rollouts)
        return replace(one, rollouts=rollouts)

    server.judge = judge
    collected = collector.collect(2, POLICIES)
    assert collected.metrics["component/consensus"] == [pytest.approx(0.5)]
    assert collected.metrics["component/length"] == [pytest.approx(0.8)]
    assert collected.groups[0].record["rollouts"][0]["components"] == {"consensus": 0.5, "length": 0.8}


def test_a_proposer_update_with_a_repetition_penalty(server: Server, tmp_path: Path) -> None:
    """Of twelve proposals four ask one question, four another and four none: each third costs a third."""
    collected = collector_of(server, tmp_path, repetition_penalty=0.3).collect(1, POLICIES)
    paid = {
        proposal["question"]: proposal["reward"]
        for group in collected.groups
        for proposal in group.record["proposals"]
    }
    assert paid == {"How many?": pytest.approx(0.3), "Which?": pytest.approx(0.3), None: 0.0}
    assert [reward for group in collected.groups for reward in group.rewards].count(0.0) == 4


def test_a_proposer_update(collector: Collector, server: Server) -> None:
    """A group of the Solver's answers per distinct question, each with its own image."""
    collected = collector.collect(1, POLICIES)
    assert collected.role == "proposer"
    [(groups, context)] = server.posted
    first, second = ("How many?", ["7"]), ("Which?", None)
    assert [(each.question, each.labels) for each in groups] == [first, second, second, first, second, first]
    assert server.images[::2] == [group.shown() for group in collected.groups]
    assert (context["update"], context["source"]) == (2, "run-1")


def test_of_a_proposer_update_the_groups_that_processes_share_are_recorded(
    server: Server, tmp_path: Path
) -> None:
    """Of three groups, two processes share two."""
    collected = collector_of(server, tmp_path, divisor=2).collect(1, POLICIES)
    assert len(collected.groups) == 2
    assert collected.recorded == collected.groups
    assert [len(group.record["proposals"]) for group in collected.recorded] == [4, 4]
    assert collected.metrics["groups_left_out"] == [1]


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
