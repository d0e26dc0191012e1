"""The rewards of an update: posts groups to the reward server."""

import copy
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ireasoner.clients import Endpoint, Group, RewardClient, Rollout, ScoredGroup
from ireasoner.clients.retry import Retry
from ireasoner.trainer.errors import ScoringError
from ireasoner.trainer.rollouts.rollout import Rollout as SampledRollout
from ireasoner.trainer.settings import RewardSettings

GroupRewards = list[float | None]
"""One reward per rollout of a group, None if it has none."""

_LONGEST_DELAY_S = 15.0
_READER: dict[str, Any] = {
    "outcome": "share", "votes": "cross", "label": "mode", "alpha": 1.0, "eta": 0.0, "lambda_max": 0.0, "judge": "off",
    "entropy_low": 0.0, "entropy_high": 1.0, "hard_above": 1.0, "format_penalty": 0.0, "distinct_exponent": 0.0,
    "min_dominant_share": 0.0,
}  # fmt: skip
"""A config that reads texts like the run's, and whose outcome reward is an answer's share of the other views' votes."""
_MAX_SOURCE = 250


@dataclass(frozen=True, slots=True)
class GroupToScore:
    """The rollouts of one question, and what the reward server's ledger shows beside them.

    Attributes:
        rollouts: The answers to the question.
        question: The question; None if only the votes are of interest.
        image: Encodes the image for people; called only if the server keeps images. None: there is nothing to see.
        labels: True answers, where they are known. No reward depends on them.
        views: Name of the view of each rollout.
        answers_in_view: The answer that each rollout votes with, where it was mapped back from its view; an empty one
            could not be mapped: its rollout neither votes nor has a reward.
        signals: The signals of each rollout, by name, as far as the scoring config needs them.
        voters: The group whose rollouts judge this one's answers; None: as the scoring config says.
        is_rewarded: Of a group that judges: whether the judged group judges it in turn. If not, its rollouts only vote.
    """

    rollouts: Sequence[SampledRollout]
    question: str | None
    image: Callable[[], bytes] | None
    labels: Sequence[str] | None = None
    views: Sequence[str | None] | None = None
    answers_in_view: Sequence[str | None] | None = None
    signals: Sequence[Mapping[str, float]] = ()
    voters: "GroupToScore | None" = None
    is_rewarded: bool = True

    def posted(self) -> list[Rollout]:
        """The rollouts as the reward server gets them."""
        nothing: list[str | None] = [None] * len(self.rollouts)
        views, answers = self.views or nothing, self.answers_in_view or nothing
        signals = self.signals or [{}] * len(self.rollouts)
        return [
            Rollout(
                id=str(member),
                text=rollout.text,
                view=view,
                answer_in_view=" " if answer == "" else answer,  # an answer of blanks is no answer
                rewarded=self.is_rewarded and answer != "",
                signals=own or None,
            )
            for member, (rollout, view, answer, own) in enumerate(
                zip(self.rollouts, views, answers, signals, strict=True)
            )
        ]


class GroupScorer:
    """Scores groups with the reward server, or draws the rewards of the random control.

    Args:
        client: The reward server; the scorer retries, so the client need not.
        settings: The scoring config, and whether this run is a control.
        seed: Seed of the random control.
        source: Name of the run in the reward server's ledger.
        retry_budget_s: Seconds to retry a request while the server is unreachable or overloaded.
        on_wait: Called with a message before a retry that may take longer than a second.
        is_alive: Whether the server can still answer; false ends every wait at once.

    Attributes:
        fingerprint: Fingerprint of the scoring so far; empty before the first group.
    """

    def __init__(
        self,
        client: RewardClient,
        settings: RewardSettings,
        seed: int,
        *,
        source: str | None = None,
        retry_budget_s: float = 300.0,
        on_wait: Callable[[str], None] = lambda _: None,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._settings = settings
        self._seed = seed
        self._source = source
        self._retry_budget_s = retry_budget_s
        self._on_wait = on_wait
        self._is_alive = is_alive
        self._consecutive_abstentions = 0
        self.fingerprint = ""

    def reader(self) -> "GroupScorer":
        """A scorer that reads answers as this one does, and pays an answer's share of the other views' votes.

        Its groups are another run of the ledger, and it has a fingerprint of its own.
        """
        reader = copy.copy(self)
        overrides = {**self._settings.overrides, **_READER}
        reader._settings = self._settings.model_copy(
            update={"overrides": overrides, "max_consecutive_abstentions": sys.maxsize}
        )
        reader._source = f"{(self._source or '')[:_MAX_SOURCE]}-views"
        reader.fingerprint = ""
        return reader

    def score(
        self,
        endpoint: Endpoint,
        groups: Sequence[GroupToScore],
        update: int,
        progress: float | None,
    ) -> list[ScoredGroup]:
        """Scores groups of rollouts, and gives the server their images for its ledger.

        Returns the scores of the groups, in order, and then those of the groups that judge them.

        Args:
            endpoint: "solver" or "proposer".
            groups: The groups.
            update: Index of the update, from 0.
            progress: t in [0, 1], for the Solver's mix of outcome and trajectory; None for the Proposer.

        Raises:
            ScoringError: Too many consecutive groups could not be judged, or the server's scoring changed.
            RewardError: The server refused, or was unreachable for longer than the budget.
        """
        call = uuid4().hex  # the answer to an earlier call cannot pass for that to this one
        voting = [(index, group.voters) for index, group in enumerate(groups) if group.voters is not None]
        judges = {index: f"{call}-voters-{index}" for index, _ in voting}
        posted = [
            self._posted(group, f"{call}-{index}", judges.get(index)) for index, group in enumerate(groups)
        ]
        for index, voters in voting:
            judged = f"{call}-{index}" if voters.is_rewarded else None
            posted.append(self._posted(voters, judges[index], judged))
        config: str | dict[str, Any] = self._settings.config
        if self._settings.overrides:
            config = {"preset": self._settings.config, **self._settings.overrides}
        retry = Retry(
            self._retry_budget_s,
            longest_delay_s=_LONGEST_DELAY_S,
            is_alive=self._is_alive,
            on_wait=lambda error, left_s: self._on_wait(
                f"reward server: {error}; retrying for another {left_s:.0f} s"
            ),
        )
        number = update + 1  # the report and the console count from 1, and so does the ledger
        response = retry.call(
            lambda: self._client.score(
                endpoint, posted, config=config, progress=progress, update=number, source=self._source
            )
        )
        if self.fingerprint not in ("", response.fingerprint):
            raise ScoringError(
                f"the reward server's scoring changed: its fingerprint is {response.fingerprint}, was "
                f"{self.fingerprint}; a run needs one config, parser and embedder"
            )
        self.fingerprint = response.fingerprint
        for group in response.groups[: len(groups)]:
            self._count(endpoint, group)
        return list(response.groups)

    def _posted(self, group: GroupToScore, name: str, voters: str | None) -> Group:
        """A group as the reward server gets it, after its image."""
        return Group(
            id=name,
            rollouts=group.posted(),
            question=group.question,
            image=self._client.put_image(group.image())
            if group.image and self._client.takes_images
            else None,
            labels=group.labels,
            voters=voters,
        )

    def _count(self, endpoint: Endpoint, group: ScoredGroup) -> None:
        """Counts consecutive groups that the server could not judge; an `invalid` group was judged, with reward 0."""
        if endpoint == "proposer":
            judged = group.proposer_reward is not None
        else:
            judged = any(rollout.reward is not None for rollout in group.rollouts)
        self._consecutive_abstentions = 0 if judged else self._consecutive_abstentions + 1
        if self._consecutive_abstentions > self._settings.max_consecutive_abstentions:
            raise ScoringError(
                f"the reward server could not judge {self._consecutive_abstentions} consecutive groups "
                "(reward.max_consecutive_abstentions)"
            )

    def reward(self, scored: float | None, *key: int) -> float | None:
        """The reward to train on: the score itself, or a uniform draw in the random control.

        The draw depends on the run's seed and on `key` (update, group, member) alone.
        """
        if self._settings.control == "random" and scored is not None:
            return random.Random(f"{self._seed}/{key}").random()
        return scored
