"""What the adapters of RL frameworks share: the server's address, and groups of texts in, rewards out."""

import asyncio
import json
import math
import os
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal, Self, cast
from uuid import uuid4

from ireasoner.clients.async_client import AsyncRewardClient
from ireasoner.clients.connection import Connection, ToLogger, Warn
from ireasoner.clients.errors import RewardError, ServerFailed
from ireasoner.clients.fingerprints import Fingerprints
from ireasoner.clients.framework_context import NO_CONTEXT, Context, image_bytes
from ireasoner.clients.judged import Judged, judged_group
from ireasoner.clients.sync_client import RewardClient
from ireasoner.clients.wire import Config, Detail, Group, Rollout, ScoreOptions, is_sha256

PREFIX = "IREASONER_REWARD_"
DEFAULT_URL = "http://127.0.0.1:8010"
TIMEOUT_S = 120.0
RETRY_BUDGET_S = 300.0
GROUP_WAIT_VARIABLE = "IREASONER_GROUP_WAIT_S"
GROUP_WAIT_S = 3600.0
"""Seconds that a finished rollout waits for its siblings, in adapters that read that variable."""
COHORT_GRACE_S = 30.0
"""Added to the deadline of a cohort to get the time-out of its callers."""
GROUPS_PER_REQUEST = 16
OF_THIS_PROCESS = Fingerprints()
"""The fingerprints so far. Frameworks make a `RewardService` for every batch, so it cannot hold them."""
ANY_OF_THIS_PROCESS = Fingerprints(accept_new=True)
REQUEST_CHARACTERS = 2**21
"""Limit for a request with several groups. It is at most 24 MiB as JSON; a server accepts 32 MiB by default."""

GiveUp = Literal["raise", "none"]
"""What becomes of a batch whose rewards could not be had within the retry budget: an error, or no rewards."""


@dataclass(frozen=True, slots=True)
class RewardService:
    """A reward server, and the config to score by.

    `config` is the name of a config, or overrides on one: `{"preset": "robust", "answer_from": "boxed"}`. `timeout_s`
    is that of one attempt, and new attempts may start for `retry_budget_s`. `source` is the name of the run in the
    server's ledger; no reward depends on it. `warn` says that a call waits.
    """

    url: str = DEFAULT_URL
    config: Config = "paper"
    timeout_s: float = TIMEOUT_S
    token: str | None = field(default=None, repr=False)
    fingerprints: Fingerprints = field(default=OF_THIS_PROCESS, repr=False)
    source: str | None = None
    retry_budget_s: float = RETRY_BUDGET_S
    give_up: GiveUp = "raise"
    warn: Warn = field(default=ToLogger(__name__), repr=False)

    @classmethod
    def configured(
        cls,
        url: str | None = None,
        config: Config | None = None,
        timeout_s: float | None = None,
        source: str | None = None,
        *,
        retry_budget_s: float | None = None,
        give_up: GiveUp | None = None,
        takes_none: bool = False,
        warn: Warn | None = None,
    ) -> Self:
        """Takes the arguments, else the variables IREASONER_REWARD_*, else the defaults.

        The variables are URL, CONFIG (a name or a JSON object), TIMEOUT_S, RETRY_BUDGET_S, GIVE_UP and SOURCE. The
        token always comes from IREASONER_REWARD_TOKEN. With IREASONER_REWARD_ACCEPT_NEW_FINGERPRINTS=1 the server's
        scoring may change during the run.

        Raises ValueError if a variable is malformed, or if `give_up` is `none` and the framework does not take None.
        """
        if config is None:
            text = os.environ.get(f"{PREFIX}CONFIG", "paper")
            config = json.loads(text) if text.lstrip().startswith("{") else text
        accepts_new = os.environ.get(f"{PREFIX}ACCEPT_NEW_FINGERPRINTS") == "1"
        return cls(
            url or os.environ.get(f"{PREFIX}URL", DEFAULT_URL),
            config,
            environment_seconds(f"{PREFIX}TIMEOUT_S", TIMEOUT_S) if timeout_s is None else timeout_s,
            os.environ.get(f"{PREFIX}TOKEN"),
            ANY_OF_THIS_PROCESS if accepts_new else OF_THIS_PROCESS,
            source or os.environ.get(f"{PREFIX}SOURCE"),
            environment_seconds(f"{PREFIX}RETRY_BUDGET_S", RETRY_BUDGET_S)
            if retry_budget_s is None
            else retry_budget_s,
            _give_up(give_up or os.environ.get(f"{PREFIX}GIVE_UP", "raise"), takes_none),
            warn or ToLogger(__name__),
        )

    def called(self, run: str | None) -> Self:
        """The same service with the framework's name of the run as its source, unless it has one."""
        return self if self.source else replace(self, source=run)

    def score(
        self,
        groups: Sequence[Sequence[str]],
        progress: float = 1.0,
        contexts: Sequence[Context] = (),
        detail: Detail = "rewards",
    ) -> list[list[Judged]]:
        """Scores groups of raw texts, several requests at a time. Raises RewardError.

        `contexts` are empty or one per group; their `update` is that of the first. With the detail `full` the rewards
        come with their steps.
        """
        with self._connection().client() as client:
            contexts = [replace(each, image=_put(client, each.image)) for each in contexts]
            return [
                judged_group(group, response.fingerprint)
                for response in client.score_many(
                    "solver",
                    _groups(groups, contexts),
                    groups_per_request=_groups_per_request(groups, contexts),
                    **self._options(progress, contexts, detail),
                )
                for group in response.groups
            ]

    async def score_async(
        self,
        groups: Sequence[Sequence[str]],
        progress: float = 1.0,
        contexts: Sequence[Context] = (),
        detail: Detail = "rewards",
    ) -> list[list[Judged]]:
        """`score` for callers on an event loop, which share its connections: any number of them can call at a time."""
        async with self._connection().shared() as client:
            contexts = [replace(each, image=await _put_async(client, each.image)) for each in contexts]
            several = client.score_many(
                "solver",
                _groups(groups, contexts),
                groups_per_request=_groups_per_request(groups, contexts),
                **self._options(progress, contexts, detail),
            )
            async with aclosing(several) as responses:
                return [
                    judged_group(group, response.fingerprint)
                    async for response in responses
                    for group in response.groups
                ]

    def keep_connections(self) -> None:
        """Leaves the connections of the running event loop open between calls."""
        self._connection().keep()

    def given_up(self, error: RewardError) -> None:
        """Raises `error` unless the batch is to go on without rewards, which is then said.

        It never goes on after errors that the next batch would meet, too: a refused request, a wrong answer, a change
        of the scoring.
        """
        if self.give_up == "raise" or not (error.retryable or isinstance(error, ServerFailed)):
            raise error
        self.warn(f"this batch has no rewards: {error}")

    def put_images(self, images: Sequence[object]) -> list[str | None]:
        """Gives the server images for its ledger; returns their SHA-256, None for what is no image. Never fails."""
        if all(image is None for image in images):
            return [None] * len(images)
        with self._connection().client() as client:
            return [_put(client, image) for image in images]

    async def score_in_cohort(
        self, group_id: str, text: str, group_size: int, wait_s: float, context: Context = NO_CONTEXT
    ) -> dict[str, float]:
        """Returns the `reward` of one rollout and its parts; the server waits up to `wait_s` for its siblings.

        A broken attempt may be repeated until `retry_budget_s` after that. Of the context, the endpoint takes the
        question and the labels.
        """
        connection = self._connection()._replace(
            timeout_s=wait_s + COHORT_GRACE_S,
            retry_budget_s=wait_s + self.retry_budget_s,
        )
        async with connection.shared() as client:
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

    def _connection(self) -> Connection:
        return Connection(
            self.url, self.token, self.timeout_s, self.retry_budget_s, self.fingerprints, self.warn
        )

    def _options(self, progress: float, contexts: Sequence[Context], detail: Detail) -> ScoreOptions:
        return {
            "config": self.config,
            "progress": progress,
            "detail": detail,
            "update": contexts[0].update if contexts else None,
            "source": self.source,
        }


def environment_seconds(variable: str, default: float) -> float:
    """The seconds that a variable holds; raises ValueError, which names it, if they are no finite number."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{variable} is {text!r}, not a number of seconds")
    return seconds


def _give_up(text: str, takes_none: bool) -> GiveUp:
    if text not in ("raise", "none"):
        raise ValueError(f"{PREFIX}GIVE_UP is {text!r}, not raise or none")
    if text == "none" and not takes_none:
        raise ValueError(f"{PREFIX}GIVE_UP is none, but this framework needs a number for every rollout")
    return cast(GiveUp, text)


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
