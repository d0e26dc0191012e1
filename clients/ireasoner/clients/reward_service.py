"""What the adapters of RL frameworks share: the server's address, and groups of texts in, rewards out."""

import asyncio
import json
import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Self, cast
from uuid import uuid4

from ireasoner.clients.async_client import AsyncRewardClient
from ireasoner.clients.errors import RewardError
from ireasoner.clients.fingerprints import Fingerprints
from ireasoner.clients.framework_context import NO_CONTEXT, Context, image_bytes
from ireasoner.clients.sync_client import RewardClient
from ireasoner.clients.wire import Config, Group, Rollout, ScoredGroup, is_sha256

PREFIX = "IREASONER_REWARD_"
DEFAULT_URL = "http://127.0.0.1:8010"
COHORT_GRACE_S = 30.0
"""Added to the deadline of a cohort to get the time-out of its callers."""
GROUPS_PER_REQUEST = 16
OF_THIS_PROCESS = Fingerprints()
"""The fingerprints so far. Frameworks make a `RewardService` for every batch, so it cannot hold them."""
ANY_OF_THIS_PROCESS = Fingerprints(accept_new=True)
REQUEST_CHARACTERS = 2**21
"""Limit for a request with several groups. It is at most 24 MiB as JSON; a server accepts 32 MiB by default."""


class SplitGroups(RewardError):
    """A batch does not consist of whole groups of the expected size."""


class NotJudged(RewardError):
    """The server abstained from every rollout of a group, but the framework needs numbers."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The reward of one rollout, and numbers for the framework's charts.

    Attributes:
        reward: In [0, 1]; None if the server abstained.
        answer: The normalised answer, None if there is none.
        metrics: Floats under the same keys for every rollout. A value that could not be computed for this rollout is
            the mean over its group, and NaN if the group has none.
        others: The mean reward of the group's judged rollouts, None if there are none.
    """

    reward: float | None
    answer: str | None
    metrics: Mapping[str, float]
    others: float | None

    @property
    def neutral(self) -> float:
        """The reward, or the mean of the group's others if the server abstained, for frameworks that need a number.

        The mean gives the rollout no advantage and leaves those of the others unchanged. Raises NotJudged if the
        server abstained from the whole group.
        """
        value = self.others if self.reward is None else self.reward
        if value is None:
            raise NotJudged("the server could not judge any rollout of the group")
        return value


@dataclass(frozen=True, slots=True)
class RewardService:
    """A reward server, and the config to score by.

    `config` is the name of a config, or overrides on one: `{"preset": "robust", "answer_from": "boxed"}`. `source` is
    the name of the run in the server's ledger; no reward depends on it.
    """

    url: str = DEFAULT_URL
    config: Config = "paper"
    timeout_s: float = 120.0
    token: str | None = field(default=None, repr=False)
    fingerprints: Fingerprints = field(default=OF_THIS_PROCESS, repr=False)
    source: str | None = None

    @classmethod
    def configured(
        cls,
        url: str | None = None,
        config: Config | None = None,
        timeout_s: float | None = None,
        source: str | None = None,
    ) -> Self:
        """Takes the arguments, else the variables IREASONER_REWARD_{URL,CONFIG,TIMEOUT_S,SOURCE}, else the defaults.

        IREASONER_REWARD_CONFIG is a name or a JSON object. The token always comes from IREASONER_REWARD_TOKEN. With
        IREASONER_REWARD_ACCEPT_NEW_FINGERPRINTS=1 the server's scoring may change during the run. Raises ValueError if
        a variable is malformed.
        """
        if config is None:
            text = os.environ.get(f"{PREFIX}CONFIG", "paper")
            config = json.loads(text) if text.lstrip().startswith("{") else text
        accepts_new = os.environ.get(f"{PREFIX}ACCEPT_NEW_FINGERPRINTS") == "1"
        return cls(
            url or os.environ.get(f"{PREFIX}URL", DEFAULT_URL),
            config,
            timeout_s or float(os.environ.get(f"{PREFIX}TIMEOUT_S", "120")),
            os.environ.get(f"{PREFIX}TOKEN"),
            ANY_OF_THIS_PROCESS if accepts_new else OF_THIS_PROCESS,
            source or os.environ.get(f"{PREFIX}SOURCE"),
        )

    def called(self, run: str | None) -> Self:
        """The same service with the framework's name of the run as its source, unless it has one."""
        return self if self.source else replace(self, source=run)

    def score(
        self, groups: Sequence[Sequence[str]], progress: float = 1.0, contexts: Sequence[Context] = ()
    ) -> list[list[Judged]]:
        """Scores groups of raw texts, several requests at a time. Raises RewardError.

        `contexts` are empty or one per group; their `update` is that of the first.
        """
        with RewardClient(self.url, **self._connection()) as client:
            contexts = [replace(each, image=_put(client, each.image)) for each in contexts]
            return [
                judged
                for response in client.score_many(
                    "solver", _groups(groups, contexts), **self._request(groups, progress, contexts)
                )
                for judged in map(_judged_group, response.groups)
            ]

    async def score_async(
        self, groups: Sequence[Sequence[str]], progress: float = 1.0, contexts: Sequence[Context] = ()
    ) -> list[list[Judged]]:
        """`score` for callers on an event loop; its connections are closed when the call ends."""
        async with AsyncRewardClient(self.url, **self._connection()) as client:
            contexts = [replace(each, image=await _put_async(client, each.image)) for each in contexts]
            several = client.score_many(
                "solver", _groups(groups, contexts), **self._request(groups, progress, contexts)
            )
            async with aclosing(several) as responses:
                return [
                    judged async for response in responses for judged in map(_judged_group, response.groups)
                ]

    def put_images(self, images: Sequence[object]) -> list[str | None]:
        """Gives the server images for its ledger; returns their SHA-256, None for what is no image. Never fails."""
        if all(image is None for image in images):
            return [None] * len(images)
        with RewardClient(self.url, **self._connection()) as client:
            return [_put(client, image) for image in images]

    async def score_in_cohort(
        self, group_id: str, text: str, group_size: int, wait_s: float, context: Context = NO_CONTEXT
    ) -> dict[str, float]:
        """Returns the `reward` of one rollout and its parts; the server waits up to `wait_s` for its siblings.

        A broken attempt may be repeated until `timeout_s` after that. Of the context, the endpoint takes the question
        and the labels.
        """
        options = {"timeout_s": wait_s + COHORT_GRACE_S, "retry_budget_s": wait_s + self.timeout_s}
        async with AsyncRewardClient(self.url, **self._connection() | options) as client:
            return await client.score_in_cohort(
                group_id,
                text,
                group_size=group_size,
                deadline_s=wait_s,
                config=self.config,
                prompt=context.question,
                labels=context.labels,
                source=self.source,
            )

    def _connection(self) -> dict[str, Any]:
        return {
            "token": self.token,
            "timeout_s": self.timeout_s,
            "retry_budget_s": self.timeout_s,
            "fingerprints": self.fingerprints,
        }

    def _request(
        self, groups: Sequence[Sequence[str]], progress: float, contexts: Sequence[Context]
    ) -> dict[str, Any]:
        return {
            "config": self.config,
            "progress": progress,
            "detail": "rewards",
            "update": contexts[0].update if contexts else None,
            "source": self.source,
            "groups_per_request": _groups_per_request(groups, contexts),
        }


def means(judged: Iterable[Judged]) -> dict[str, float]:
    """The mean of each metric over the rollouts for which it is known; left out if it is known for none."""
    known: dict[str, list[float]] = {}
    for each in judged:
        for name, value in each.metrics.items():
            if not math.isnan(value):
                known.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in known.items()}


def siblings(keys: Sequence[Hashable], *sizes: int | None) -> list[range]:
    """The indices of each group in a batch with contiguous groups, which are runs of equal keys.

    `sizes` are the possible sizes of a group, in training and in evaluation. One prompt can occur in a batch more than
    once, so a run whose length is a multiple of a size, of the largest such size, is split into groups of that size.
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
    """The progress of a transformers trainer, in [0, 1]; 1 if it is unknown."""
    steps = getattr(trainer_state, "max_steps", 0) or 0
    return min(1.0, trainer_state.global_step / steps) if steps > 0 else 1.0


def gathered(keys: Sequence[Hashable]) -> list[list[int]]:
    """The indices of each group in a batch in any order: those with equal keys."""
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def _put(client: RewardClient, image: object) -> str | None:
    if image is None or (isinstance(image, str) and is_sha256(image)):
        return image
    content = image_bytes(image) if client.takes_images else None
    return None if content is None else client.put_image(content)


async def _put_async(client: AsyncRewardClient, image: object) -> str | None:
    if image is None or (isinstance(image, str) and is_sha256(image)):
        return image
    content = await asyncio.to_thread(image_bytes, image) if client.takes_images else None
    return None if content is None else await client.put_image(content)


def _groups(groups: Sequence[Sequence[str]], contexts: Sequence[Context]) -> list[Group]:
    """Groups under ids that no other call uses, so that the answer to another call cannot pass for that to this one."""
    call = uuid4().hex
    return [
        Group(
            f"{call}-{number}",
            [Rollout(str(index), text) for index, text in enumerate(texts)],
            context.question,
            cast(str | None, context.image),
            context.labels,
        )
        for number, (texts, context) in enumerate(
            zip(groups, contexts or [NO_CONTEXT] * len(groups), strict=True)
        )
    ]


def _groups_per_request(groups: Sequence[Sequence[str]], contexts: Sequence[Context]) -> int:
    largest = max((sum(map(len, texts)) for texts in groups), default=0)
    context = max(
        (len(each.question or "") + sum(map(len, each.labels or ())) for each in contexts), default=0
    )
    return max(1, min(GROUPS_PER_REQUEST, REQUEST_CHARACTERS // max(1, largest + context)))


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
