"""Scored groups in the loop: abstentions, retries, refusals, and the random control."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ireasoner.clients import ConnectionBroken, Group, RewardClient, ScoredGroup, ScoredRollout, ScoreResponse
from ireasoner.trainer.errors import ScoringError
from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
from ireasoner.trainer.rollouts.rollout import Rollout
from ireasoner.trainer.settings import RewardSettings, RunSettings

PNG = b"a picture"
ROLLOUT = Rollout("text", (1,), (-0.5,), (2, 3), "stop", "solver-000000", 0)


def scored(group: Group, reward: float | None, status: Any = "ok") -> ScoredGroup:
    rollouts = tuple(
        ScoredRollout(r.id, "abstain" if reward is None else status, None, "x", reward, reward, None, ())
        for r in group.rollouts
    )
    return ScoredGroup(group.id, status, None, False, 0.0, 0.0, None, reward, (), rollouts)


class Server:
    """A fake client: answers with `judge` after `broken` broken connections."""

    def __init__(
        self, judge: Callable[[Group], ScoredGroup], broken: int = 0, fingerprint: str = "f"
    ) -> None:
        self.judge = judge
        self.broken = broken
        self.fingerprint = fingerprint
        self.calls = 0
        self.takes_images = True
        self.images: list[bytes] = []
        self.posted: list[tuple[list[Group], dict[str, Any]]] = []

    def put_image(self, image: bytes) -> str:
        self.images.append(image)
        return hashlib.sha256(image).hexdigest()

    def score(self, _endpoint: str, groups: list[Group], **context: Any) -> ScoreResponse:
        self.calls += 1
        self.posted.append((groups, context))
        if self.calls <= self.broken:
            raise ConnectionBroken("the connection ended in mid-answer")
        return ScoreResponse("r", self.fingerprint, tuple(self.judge(group) for group in groups))


def scorer(server: Server, **settings: Any) -> GroupScorer:
    client: RewardClient = server  # type: ignore[assignment]
    return GroupScorer(client, RewardSettings(**settings), seed=7, source="run-1")


def score(one: GroupScorer, groups: int = 1) -> list[ScoredGroup]:
    return one.score("solver", [GroupToScore([ROLLOUT, ROLLOUT], "How many?", lambda: PNG)] * groups, 3, 0.5)


def test_invalid_groups_never_stop_the_run() -> None:
    one = scorer(Server(lambda group: scored(group, 0.0, "invalid")), max_consecutive_abstentions=3)
    for _ in range(20):
        assert score(one)[0].rollouts[0].reward == 0.0


def test_an_unjudged_group_has_no_reward_and_too_many_consecutive_ones_stop_the_run() -> None:
    one = scorer(Server(lambda group: scored(group, None)), max_consecutive_abstentions=3)
    for _ in range(3):
        assert score(one)[0].rollouts[0].reward is None
    with pytest.raises(ScoringError, match="could not judge 4 consecutive groups"):
        score(one)


def test_abstentions_that_are_not_consecutive_do_not_stop_the_run() -> None:
    server = Server(lambda group: scored(group, None if server.calls % 2 else 0.4))
    one = scorer(server, max_consecutive_abstentions=1)
    for _ in range(20):
        score(one)


def test_a_broken_connection_is_retried() -> None:
    server = Server(lambda group: scored(group, 0.4), broken=2)
    assert score(scorer(server))[0].rollouts[0].reward == 0.4
    assert server.calls == 3


def test_a_server_that_has_ended_is_not_waited_for() -> None:
    client: RewardClient = Server(lambda group: scored(group, 0.4), broken=99)  # type: ignore[assignment]
    one = GroupScorer(client, RewardSettings(), 0, is_alive=lambda: False)
    with pytest.raises(ConnectionBroken):
        score(one)


def test_a_server_whose_scoring_changed_is_refused() -> None:
    server = Server(lambda group: scored(group, 0.4))
    one = scorer(server)
    score(one)
    server.fingerprint = "another embedder"
    with pytest.raises(ScoringError, match="scoring changed"):
        score(one)


def test_rewards_are_the_servers_unless_the_run_is_a_control() -> None:
    one = scorer(Server(lambda group: scored(group, 0.4)))
    assert one.reward(0.4, 1, 2, 3) == 0.4
    assert one.reward(None, 1, 2, 3) is None


def test_the_random_control_draws_uniformly_and_reproducibly() -> None:
    server = Server(lambda group: scored(group, 0.4))
    control, again = scorer(server, control="random"), scorer(server, control="random")
    keys = [(update, group, member) for update in range(5) for group in range(10) for member in range(10)]
    drawn = [control.reward(0.4, *key) for key in keys]
    values = [value for value in drawn if value is not None]
    assert len(set(values)) == len(keys)
    assert drawn == [again.reward(0.4, *key) for key in keys]
    assert all(0 <= value < 1 for value in values)
    assert 0.45 < sum(values) / len(values) < 0.55
    assert control.reward(None, 0, 0, 0) is None


def test_the_ledger_gets_what_people_look_for() -> None:
    """Images before the groups that name them, and the same name for all tries."""
    server = Server(lambda group: scored(group, 0.4), broken=1)
    one = scorer(server)
    groups = [
        GroupToScore([ROLLOUT], "How many?", lambda: PNG, ["7"]),
        GroupToScore([ROLLOUT], None, lambda: b"another", None),
    ]
    one.score("solver", groups, 3, 0.5)
    one.score("proposer", groups[:1], 4, None)
    assert server.images == [PNG, b"another", PNG], "the client puts each once"
    (first, again), last = server.posted[:2], server.posted[2]
    assert first == again
    assert [(each.question, each.image, each.labels) for each in first[0]] == [
        ("How many?", hashlib.sha256(PNG).hexdigest(), ["7"]),
        (None, hashlib.sha256(b"another").hexdigest(), None),
    ]
    assert [context["update"] for _, context in server.posted] == [4, 4, 5]
    assert {context["source"] for _, context in server.posted} == {"run-1"}
    assert last[0][0].labels == ["7"]


def test_a_run_has_the_name_of_its_folder_unless_it_is_given_one(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "m", "images": tmp_path}
    assert RunSettings(**fields, run_folder=tmp_path / "run-1" / "").source == "run-1"
    assert RunSettings(**fields, run_folder=tmp_path / "run-1" / "..").source == tmp_path.name
    named = RunSettings(**fields, run_folder=tmp_path / "run-1", reward={"source": "mine"})
    assert named.source == "mine"
    assert named.experiment == RunSettings(**fields, run_folder=tmp_path / "run-1").experiment
