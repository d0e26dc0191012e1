"""Answers that are mapped back from views, and the price of a contrast, with a real reward server."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.clients import RewardClient, ScoredGroup
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.preflight import check_servers
from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.rollout import Rollout
from ireasoner.trainer.settings import RewardSettings, RunSettings
from ireasoner.trainer.views import AnswerMap, Seen
from ireasoner.trainer.views.mirror import mirrored_back
from ireasoner.trainer.views.quarter_turn import turned_back
from ireasoner.trainer.views.view_scores import ViewScores
from tests.reward_server.conftest import compass, compass_url
from tests.trainer.offline import reasoning

__all__ = ["compass", "compass_url"]  # fixtures

PICTURE = Image.new("RGB", (8, 8))
MAPS: dict[str, AnswerMap | None] = {"plain": None, "mirror": mirrored_back, "quarter_turn": turned_back}


@pytest.fixture(scope="module")
def client(compass_url: str) -> Iterator[RewardClient]:
    with RewardClient(compass_url) as client:
        yield client


def rollout(answer: str | None) -> Rollout:
    text = "I cannot say." if answer is None else reasoning(answer)
    return Rollout(text, (1,), (0.0,), (1,), "stop", "solver-000000", 0)


class Scored:
    """A group whose views give these answers, scored.

    Args:
        client: The reward server.
        answers: The answers of each view, as they are written; None is a text without one.
        contrast: The answers of the contrast.
        config: Fields of the scoring config.
    """

    def __init__(
        self,
        client: RewardClient,
        answers: dict[str, Sequence[str | None]],
        contrast: Sequence[str | None] = (),
        weight: float = 1.0,
        **config: Any,
    ) -> None:
        fields = {"alpha": 1.0, "eta": 0.0, **config}
        scorer = GroupScorer(client, RewardSettings(config="views", overrides=fields), 0, source="run")
        self.group = group = Group(Path("a.png"), PICTURE)
        group.question = "Where is it?"
        group.prompts = [Prompt([], PICTURE, b"", len(each), view) for view, each in answers.items()]
        group.rollouts = [rollout(answer) for each in answers.values() for answer in each]
        group.contrast = [rollout(answer) for answer in contrast]
        scores = ViewScores(scorer, weight)
        seen = [Seen(view, PICTURE, "?", MAPS[view]) for view in answers]
        scores.map_answers([group], [seen], 0)
        views = [prompt.view for prompt in group.prompt_of_rollout]
        posted = GroupToScore(
            group.rollouts, group.question, None, views=views, answers_in_view=group.answers_in_view
        )
        self.score: ScoredGroup
        [self.score] = scores.judged([group], scorer.score("solver", [posted], 0, 0.0), 0)
        self.record = group.solver_record(self.score)

    @property
    def rewards(self) -> list[float | None]:
        return [each.reward for each in self.score.rollouts]


def test_answers_are_mapped_back_and_other_views_judge_them(client: RewardClient) -> None:
    """The plain view says left three times; the mirror means left once, the turned image once."""
    one = Scored(
        client, {"plain": ["left", "left"], "mirror": ["right", "left"], "quarter_turn": ["bottom", "Top."]}
    )
    assert one.group.answers_in_view == [None, None, "left", "right", "left", "right"]
    assert [each.answer for each in one.score.rollouts] == ["left", "left", "left", "right", "left", "right"]
    assert one.rewards == [0.5, 0.5, 0.75, 0.25, 0.75, 0.25]
    assert [each["view"] for each in one.record["rollouts"]] == [
        *["plain"] * 2,
        *["mirror"] * 2,
        *["quarter_turn"] * 2,
    ]
    assert one.score.dominant_answer == "left"


def test_an_answer_that_cannot_be_mapped_abstains_and_does_not_vote(client: RewardClient) -> None:
    one = Scored(client, {"plain": ["row 2", "row 2"], "quarter_turn": ["column 2", "row 2"]})
    assert one.rewards == [0.5, 0.5, 1.0, None]
    last = one.score.rollouts[-1]
    assert (last.status, last.outcome) == ("abstain", None)
    assert last.reason == "its answer in the view 'quarter_turn' cannot be mapped back"
    assert one.record["rollouts"][-1]["status"] == "abstain"


def test_a_text_without_an_answer_stays_without(client: RewardClient) -> None:
    one = Scored(client, {"plain": ["left", None], "mirror": [None, "right"]})
    assert one.rewards == [0.5, 0.0, 0.0, 0.5]
    assert [each.status for each in one.score.rollouts] == ["ok", "invalid", "invalid", "ok"]


def test_equal_answers_in_other_words_are_each_mapped(client: RewardClient) -> None:
    one = Scored(client, {"plain": ["0.5", "right"], "mirror": ["1/2", "Left.", "**left**"]})
    assert one.group.answers_in_view[:2] == [None, None]
    assert [each.answer for each in one.score.rollouts][1:2] == ["right"]
    assert one.rewards == [1 / 3, 2 / 3, 0.5, 0.5, 0.5]


def test_nothing_is_asked_twice_without_a_map_or_a_contrast(client: RewardClient) -> None:
    calls = []
    original = GroupScorer.score

    def counted(self: GroupScorer, endpoint: Any, *arguments: Any) -> Any:
        calls.append(endpoint)
        return original(self, endpoint, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupScorer, "score", counted)
        Scored(client, {"plain": ["7", "7"]})
        assert calls == ["solver"]
        Scored(client, {"plain": ["7"], "mirror": ["7"]})
        assert calls[1:] == ["outcome", "solver"]
        Scored(client, {"plain": ["7"], "mirror": ["7"]}, contrast=["8"])
        assert calls[3:] == ["outcome", "solver", "outcome"]


@pytest.mark.parametrize("votes", ["own", "pooled", "cross"])
@pytest.mark.parametrize(
    ("contrast", "weight", "prices"),
    [
        (["7", "7"], 1.0, [1.0, 1.0, 0.0, 0.0]),
        (["seven", "9"], 1.0, [0.5, 0.5, 0.0, 0.0]),
        (["7", None, None, "8"], 2.0, [0.5, 0.5, 0.5, 0.0]),
        (["5"], 1.0, [0.0, 0.0, 0.0, 0.0]),
        ([None, None], 1.0, [0.0, 0.0, 0.0, 0.0]),
    ],
    ids=str,
)
def test_an_answer_that_the_contrast_gives_is_paid_less(
    client: RewardClient, votes: str, contrast: list[str | None], weight: float, prices: list[float]
) -> None:
    answers: dict[str, Sequence[str | None]] = {"plain": ["7", "7.0"], "mirror": ["8", None]}
    free = Scored(client, answers, votes=votes)
    priced = Scored(client, answers, contrast, weight, votes=votes)
    assert None not in free.rewards
    paid = [*prices[:-1], max(prices)]  # the invalid rollout pays the largest price
    assert priced.rewards == pytest.approx(
        [(reward or 0.0) - price for reward, price in zip(free.rewards, paid, strict=True)]
    )
    assert [each.components["contrast"] for each in priced.score.rollouts] == pytest.approx(
        [-price for price in paid]
    )
    assert not any("contrast" in each.components for each in free.score.rollouts)
    assert priced.group.contrast_shares == pytest.approx([price / weight for price in prices])


def test_the_price_compares_answers_that_were_mapped_back(client: RewardClient) -> None:
    one = Scored(client, {"plain": ["left"], "mirror": ["right"], "quarter_turn": ["top"]}, ["left"])
    assert one.group.contrast_shares == [1.0, 1.0, 0.0]
    assert one.rewards == [-0.5, -0.5, 0.0]


def test_leaving_the_answer_out_is_no_way_around_the_price(client: RewardClient) -> None:
    """On a question that a blank image answers as well, every answer costs, and so does none."""
    one = Scored(client, {"plain": ["7", "8"], "mirror": ["7", None]}, ["7", "7", "7", "8"], votes="pooled")
    assert one.rewards == pytest.approx([0.5 - 0.75, 0.25 - 0.25, 0.5 - 0.75, -0.75])
    alone = Scored(client, {"plain": [None, None], "mirror": [None, None]}, ["7"], votes="pooled")
    assert alone.rewards == [0.0] * 4


class Reached(Exception):
    """The check of the reward server is over."""


class Rollouts:
    """A rollout server that is not asked anything."""

    def models(self) -> list[str]:
        raise Reached


@pytest.mark.parametrize(
    ("config", "votes", "names", "refused"),
    [
        ("views", None, (), True),
        ("views", None, ("plain",), True),
        ("paper", "cross", (), True),
        ("views", None, ("plain", "mirror"), False),
        ("views", "pooled", (), False),
        ("paper", None, ("plain",), False),
        ("ttrl", "pooled", ("plain", "mirror"), False),
        ("self-certainty", None, (), False),
    ],
)
def test_a_run_whose_views_judge_each_other_needs_two_of_them(
    client: RewardClient,
    tmp_path: Path,
    config: str,
    votes: str | None,
    names: tuple[str, ...],
    refused: bool,
) -> None:
    settings = RunSettings(
        model="m",
        images=tmp_path,
        run_folder=tmp_path,
        group_size=4,
        views={"names": names},
        reward={"config": config, "overrides": {"votes": votes} if votes else {}},
    )
    rollouts: Any = Rollouts()
    policy: Any = None
    expected = SettingsError if refused else Reached
    with pytest.raises(expected, match=f"two views or more, and has {len(names)}" if refused else None):
        check_servers(settings, rollouts, client, policy)


def test_a_group_with_one_view_abstains_under_cross_votes(client: RewardClient) -> None:
    one = Scored(client, {"plain": ["7", "7"]}, ["8"])
    assert one.rewards == [None, None]
    assert {each.reason for each in one.score.rollouts} == {"there is no rollout of another view"}
