"""Scores groups anew, through the scorer that a server would use, in the process of the command."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast
from uuid import uuid4

from ireasoner.reward_server import wire
from ireasoner.reward_server.commands.command import InputError
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import NotReady, ServiceError
from ireasoner.reward_server.ledger.rescoring import group_to_score
from ireasoner.reward_server.ledger.stored_groups import StoredGroup
from ireasoner.reward_server.memory import Memory
from ireasoner.reward_server.observability.metrics import Metrics
from ireasoner.reward_server.scoring.scorer import Caller, Endpoint, Scorer
from ireasoner.reward_server.scoring_config import ConfigOverrides, ScoringConfig
from ireasoner.reward_server.settings import RewardServerSettings

Json = Mapping[str, Any]

POLL_S = 0.05
RETRIES = 5
RETRY_S = 1.0
"""Times that a group is tried again if the scorer says that this can help, and the seconds between."""
_ID = "group"
"""Start of the ids of a request's groups, which are renamed: it may hold groups of several requests."""


class CannotScore(InputError):
    """The embedder cannot be loaded, or stopped; what is done is kept."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A group that cannot be scored, and why."""

    reason: str


class Rescorer:
    """Scores stored groups with any config; `started` makes one."""

    def __init__(self, engine: Engine, scorer: Scorer, memory: Memory) -> None:
        self._engine = engine
        self._scorer = scorer
        self._memory = memory

    @classmethod
    @asynccontextmanager
    async def started(cls, settings: RewardServerSettings) -> AsyncIterator["Rescorer"]:
        """A rescorer with the embedder of the settings, for as long as the block lasts.

        Raises:
            CannotScore: The embedder cannot be loaded.
        """
        failures: list[Exception] = []
        engine = Engine(settings, Metrics(), failures.append)
        engine.start()
        try:
            while not failures and (scorer := _scorer_of(engine)) is None:
                await asyncio.sleep(POLL_S)  # loading has no deadline: it ends, or fails
            if failures:
                reason = " ".join(str(failures[0]).split())
                raise CannotScore(f"the embedder {settings.embedder} cannot be loaded: {reason}")
            assert scorer is not None
            yield cls(engine, scorer, Memory(settings.max_held_bytes))
        finally:
            await engine.stop()

    @property
    def embedder(self) -> str:
        """The identity of the embedder."""
        return self._scorer.embedder

    def config(self, overrides: ConfigOverrides, experiment: str) -> ScoringConfig:
        """The config that an experiment means by `overrides`; raises MalformedRequest if there is none."""
        return self._engine.configs.use(overrides, experiment)

    async def scored(
        self, groups: Sequence[StoredGroup], config: ConfigOverrides
    ) -> list[dict[str, Any] | Failed]:
        """The groups' scores, without steps and clusters, in order; those of one experiment and update go together.

        Raises:
            CannotScore: The scorer has stopped.
        """
        parts = [list(part) for _, part in groupby(groups, key=_context)]
        return [
            each
            for part in await asyncio.gather(*(self._part(part, config) for part in parts))
            for each in part
        ]

    async def _part(
        self, groups: Sequence[StoredGroup], config: ConfigOverrides
    ) -> list[dict[str, Any] | Failed]:
        try:
            return await self._request(groups, config)
        except ServiceError as error:
            if len(groups) == 1:
                return [Failed(f"{error.code}: {error.detail}")]
        return [each for group in groups for each in await self._part([group], config)]

    async def _request(self, groups: Sequence[StoredGroup], config: ConfigOverrides) -> list[Any]:
        first = groups[0]
        request = wire.ScoreRequest.model_construct(
            groups=[group_to_score(group.sent, f"{_ID}{index}") for index, group in enumerate(groups)],
            config=config,
            detail="rewards",
        )
        return await self.request(cast(Endpoint, first.endpoint), request, first.progress, first.experiment)

    async def request(
        self, endpoint: Endpoint, request: wire.ScoreRequest, progress: float, experiment: str
    ) -> list[Any]:
        """The scored groups of a request, as an endpoint returns them.

        Raises:
            CannotScore: The scorer has stopped.
            ServiceError: It refused the request.
        """
        for left in reversed(range(RETRIES + 1)):
            with self._memory.claim() as claim:
                caller = Caller(uuid4().hex, experiment, claim)
                try:
                    response = await self._scorer.score(endpoint, request, progress, caller)
                except NotReady as error:
                    raise CannotScore(
                        f"scoring has stopped: {error.detail}; start the command again"
                    ) from error
                except ServiceError as error:
                    if not error.retryable or not left:
                        raise
                else:
                    return cast(list[Any], response["groups"])
            await asyncio.sleep(RETRY_S)
        raise AssertionError("the last try returns or raises")


def _scorer_of(engine: Engine) -> Scorer | None:
    try:
        return engine.scorer
    except NotReady:
        return None


def _context(group: StoredGroup) -> tuple[str, str, float]:
    """What all groups of a request share."""
    return group.experiment, group.endpoint, group.progress
