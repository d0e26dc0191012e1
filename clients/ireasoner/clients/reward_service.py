"""What the adapters of RL frameworks share: where the server is, and groups of texts in, rewards out."""

import json
import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Self

from ireasoner.clients.async_client import AsyncRewardClient
from ireasoner.clients.errors import RewardError
from ireasoner.clients.sync_client import RewardClient
from ireasoner.clients.wire import Config, Group, Rollout, ScoredGroup, ScoreResponse

PREFIX = "IREASONER_REWARD_"
DEFAULT_URL = "http://127.0.0.1:8010"
COHORT_GRACE_S = 30.0
"""How much longer a client waits than the deadline that it gives a cohort."""
GROUPS_PER_REQUEST = 16
REQUEST_CHARACTERS = 2**21
"""The most text of a request that holds several groups: as JSON 24 MiB, of 32 that a server takes by default."""


class UnknownGroups(RewardError):
    """The rows of a batch are no whole groups of the size that the caller was told."""


class NotJudged(RewardError):
    """The server abstained from every rollout of a group, and the caller needs a number."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One rollout's reward in [0, 1], None if the server abstained, and numbers for the framework's charts.

    `metrics` has the same keys for every rollout, and floats only: what could not be computed for a rollout is
    the mean of its group's others, and NaN if for none of them. `neutral` is the reward, or where there is
    none the mean of the group's others, which gives the rollout no advantage and leaves theirs as it was.
    """

    reward: float | None
    answer: str | None
    metrics: Mapping[str, float]
    others: float | None

    @property
    def neutral(self) -> float:
        """A number for frameworks that have no word for "no opinion"; raises NotJudged if there is none."""
        value = self.others if self.reward is None else self.reward
        if value is None:
            raise NotJudged("no rollout of the group could be judged")
        return value


@dataclass(frozen=True, slots=True)
class RewardService:
    """A reward server, and by what it is to score.

    `config` is a config's name, or overrides on one: `{"preset": "robust", "answer_from": "boxed"}`.
    """

    url: str = DEFAULT_URL
    config: Config = "paper"
    timeout_s: float = 120.0
    token: str | None = field(default=None, repr=False)

    @classmethod
    def configured(
        cls, url: str | None = None, config: Config | None = None, timeout_s: float | None = None
    ) -> Self:
        """What is given, else IREASONER_REWARD_{URL,CONFIG,TIMEOUT_S}, else the defaults.

        IREASONER_REWARD_CONFIG is a name or a JSON object. A token is read from IREASONER_REWARD_TOKEN only.
        Raises ValueError if a variable is malformed.
        """
        if config is None:
            text = os.environ.get(f"{PREFIX}CONFIG", "paper")
            config = json.loads(text) if text.lstrip().startswith("{") else text
        return cls(
            url or os.environ.get(f"{PREFIX}URL", DEFAULT_URL),
            config,
            timeout_s or float(os.environ.get(f"{PREFIX}TIMEOUT_S", "120")),
            os.environ.get(f"{PREFIX}TOKEN"),
        )

    def score(self, groups: Sequence[Sequence[str]], progress: float = 1.0) -> list[list[Judged]]:
        """Scores groups of raw texts, some at a time; raises RewardError."""
        asked, sent = self._asked(progress), _groups(groups)
        with (
            RewardClient(self.url, **self._options()) as client,
            closing(
                client.score_many("solver", sent, groups_per_request=_groups_per_request(groups), **asked)
            ) as coming,
        ):
            return _judged(coming)

    async def score_async(self, groups: Sequence[Sequence[str]], progress: float = 1.0) -> list[list[Judged]]:
        """The same for callers on an event loop; its connections live no longer than the call."""
        asked, sent = self._asked(progress), _groups(groups)
        async with (
            AsyncRewardClient(self.url, **self._options()) as client,
            aclosing(
                client.score_many("solver", sent, groups_per_request=_groups_per_request(groups), **asked)
            ) as coming,
        ):
            return _judged([response async for response in coming])

    async def score_in_cohort(
        self, group_id: str, text: str, group_size: int, wait_s: float
    ) -> dict[str, float]:
        """The `reward` of one rollout and its parts; the server waits `wait_s` at most for its siblings.

        A try that breaks off may be begun again within `timeout_s` after that.
        """
        options = {"timeout_s": wait_s + COHORT_GRACE_S, "retry_budget_s": wait_s + self.timeout_s}
        async with AsyncRewardClient(self.url, **self._options() | options) as client:
            return await client.score_in_cohort(
                group_id, text, group_size=group_size, deadline_s=wait_s, config=self.config
            )

    def _options(self) -> dict[str, Any]:
        return {"token": self.token, "timeout_s": self.timeout_s, "retry_budget_s": self.timeout_s}

    def _asked(self, progress: float) -> dict[str, Any]:
        return {"config": self.config, "progress": progress, "detail": "rewards"}


def means(judged: Iterable[Judged]) -> dict[str, float]:
    """The mean of each metric over the rollouts for which it is known; one that is for none is left out."""
    known: dict[str, list[float]] = {}
    for each in judged:
        for name, value in each.metrics.items():
            if not math.isnan(value):
                known.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in known.items()}


def siblings(keys: Sequence[Hashable], *sizes: int | None) -> list[range]:
    """The positions of each group in a batch whose groups are contiguous: runs of equal keys.

    `sizes` are those that a group may have, in training and in evaluation. A run that is a multiple of one, of
    the largest if of several, is as many groups: one prompt stands in the batch more than once.
    """
    groups: list[range] = []
    start = 0
    for _, run in groupby(keys):
        end = start + len(list(run))
        step = max((size for size in sizes if size and (end - start) % size == 0), default=end - start)
        groups += [range(first, first + step) for first in range(start, end, step)]
        start = end
    return groups


def progress_of(trainer_state: Any) -> float:
    """How far a trainer of the transformers kind has come, 0 to 1; 1 if it does not say."""
    steps = getattr(trainer_state, "max_steps", 0) or 0
    return min(1.0, trainer_state.global_step / steps) if steps > 0 else 1.0


def gathered(keys: Sequence[Hashable]) -> list[list[int]]:
    """The positions of each group in a batch in any order: those of equal keys."""
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def _groups(groups: Sequence[Sequence[str]]) -> list[Group]:
    return [
        Group(str(number), [Rollout(str(index), text) for index, text in enumerate(texts)])
        for number, texts in enumerate(groups)
    ]


def _groups_per_request(groups: Sequence[Sequence[str]]) -> int:
    largest = max((sum(map(len, texts)) for texts in groups), default=0)
    return max(1, min(GROUPS_PER_REQUEST, REQUEST_CHARACTERS // max(1, largest)))


def _judged(responses: Iterable[ScoreResponse]) -> list[list[Judged]]:
    return [_judged_group(group) for response in responses for group in response.groups]


def _judged_group(group: ScoredGroup) -> list[Judged]:
    others = _mean([rollout.reward for rollout in group.rollouts])
    outcome = _mean([rollout.outcome for rollout in group.rollouts])
    trajectory = _mean([rollout.trajectory for rollout in group.rollouts])
    return [
        Judged(
            rollout.reward,
            rollout.answer,
            {
                "outcome": _known(rollout.outcome, outcome),
                "trajectory": _known(rollout.trajectory, trajectory),
                "dominant_share": group.dominant_share,
                "tie": float(group.tie),
                "valid": float(rollout.status == "ok"),
                "abstained": float(rollout.status == "abstain"),
            },
            others,
        )
        for rollout in group.rollouts
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _known(*values: float | None) -> float:
    return next((value for value in values if value is not None), math.nan)
