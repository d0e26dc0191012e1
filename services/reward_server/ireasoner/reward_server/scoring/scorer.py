"""From a request's groups to their scores: read, embed the steps to compare, compute, write."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Literal

import numpy as np

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.trajectories import JudgedCluster, judge, vectors_of
from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.embedding.batching import EmbeddingBatcher, Rows
from ireasoner.reward_server.memory import Claim
from ireasoner.reward_server.scoring import footprint
from ireasoner.reward_server.scoring.electorates import check_voters, judged_answers
from ireasoner.reward_server.scoring.fingerprint import fingerprint
from ireasoner.reward_server.scoring.outcome import Outcome, outcome_of_signal, outcomes_of
from ireasoner.reward_server.scoring.pace import Pace
from ireasoner.reward_server.scoring.read_group import ReadGroup, read_group
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring.response import GroupRewards, Json, scored_group
from ireasoner.reward_server.scoring.standings import standings_of
from ireasoner.reward_server.scoring_config import ScoringConfig
from ireasoner.reward_server.worker_threads import WorkerThreads

Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for scores.

    Attributes:
        request_id: Of the request.
        experiment: Its configs can be named.
        claim: The memory of the request.
        turns: Requests with equal ones share the turns and the room of the embedder's queue; by default each has its
            own.
        wants_full: Whether the scores have detail full, if there is memory for it, whatever the request asks for.
    """

    request_id: str
    experiment: str
    claim: Claim
    turns: Hashable = field(default_factory=object)
    wants_full: bool = False


class Scorer:
    """Scores groups. A group's scores depend on that group, its voters, the config and the embedder alone."""

    def __init__(self, batcher: EmbeddingBatcher, configs: ConfigRegistry) -> None:
        self._batcher = batcher
        self._configs = configs
        self._comparer = ExpressionComparer()
        self._thread = WorkerThreads(1, "large groups")

    @property
    def embedder(self) -> str:
        """The identity of the embedder."""
        return self._batcher.backend.identity

    async def stop(self) -> None:
        """Ends the process that compares formulas."""
        await self._comparer.stop()

    async def score(
        self, endpoint: Endpoint, request: wire.ScoreRequest, progress: float, caller: Caller
    ) -> Json:
        """Scores every group of `request`; returns what `wire.ScoreResponse` describes.

        `progress`, in [0, 1], matters to the endpoint `solver` only.

        Raises MalformedRequest for an unknown config or unusable `voters`, ConfigNotSaved, FormulasUnavailable,
        RequestTooLarge or Overloaded if there is no memory for it, and what `EmbeddingBatcher.embed` raises.
        """
        config = self._configs.use(request.config, caller.experiment)
        check_voters(request.groups)
        pace = Pace(self._thread, caller.claim)
        groups = []
        for sent in request.groups:
            groups.append(await read_group(sent, config, self._comparer, pace))
            caller.claim.hold(footprint.of_reading(groups[-1]))
        detail = request.detail
        if caller.wants_full and caller.claim.has_room(footprint.of_writing(groups, "full")):
            detail = "full"
        caller.claim.hold(footprint.of_writing(groups, detail))
        judged: Sequence[Sequence[JudgedCluster]] = [()] * len(groups)
        if endpoint in ("trajectory", "solver"):
            caller.claim.hold(footprint.of_judging(groups, self._batcher.backend.dimension))
            judged = await self._judge_steps(groups, config, pace, caller.turns)
        outcomes: Sequence[Outcome | None] = [None] * len(groups)
        if endpoint in ("outcome", "solver"):
            outcomes = await self._outcomes(groups, config, pace)
        scored = []
        for group, outcome, clusters in zip(groups, outcomes, judged, strict=True):
            rewards = None
            if endpoint != "proposer":
                rewards = _rewards(group, outcome, clusters, config, progress, endpoint)
            write = partial(scored_group, group, config, detail, rewards)
            scored.append(await pace.run(group.size if detail == "full" else 0, write))
        return {
            "request_id": caller.request_id,
            "fingerprint": fingerprint(config, self._batcher.backend.identity),
            "groups": scored,
        }

    async def _outcomes(
        self, groups: Sequence[ReadGroup], config: ScoringConfig, pace: Pace
    ) -> Sequence[Outcome]:
        """The outcome of each group."""
        if config.outcome == "signal":
            return [outcome_of_signal(group, config) for group in groups]
        by_id = {group.sent.id: group for group in groups}
        standings = []
        for group in groups:
            voters = by_id.get(group.sent.voters or "")
            judged = await judged_answers(group, voters, config, self._comparer, pace)
            standings.append(await pace.run(judged.work, partial(standings_of, judged, config)))
        return list(outcomes_of(groups, standings, config))

    async def _judge_steps(
        self, groups: Sequence[ReadGroup], config: ScoringConfig, pace: Pace, turns: Hashable
    ) -> list[list[JudgedCluster]]:
        """Embeds the compared steps of every group together, and judges them group by group."""
        steps = chain.from_iterable(group.distinct_steps for group in groups)
        embeddings = await self._batcher.embed(steps, turns)
        return [
            await pace.run(group.size, partial(_judge_group, group, embeddings, config)) for group in groups
        ]


def _judge_group(group: ReadGroup, embeddings: Rows, config: ScoringConfig) -> list[JudgedCluster]:
    """Judges the compared clusters of a group."""
    vectors = vectors_of(embeddings.stacked(group.distinct_steps), group.step_rows, config)
    ends = accumulate((sum(map(len, cluster.steps)) for cluster in group.compared), initial=0)
    return [
        judge(
            cluster,
            vectors.part(slice(start, end)),
            agreement.density(
                group.compared_share(group.rollouts[cluster.members[0]].answer, config), config
            ),
            config,
        )
        for cluster, (start, end) in zip(group.compared, pairwise(ends), strict=True)
    ]


def _rewards(
    group: ReadGroup,
    outcome: Outcome | None,
    judged: Sequence[JudgedCluster],
    config: ScoringConfig,
    progress: float,
    endpoint: Endpoint,
) -> GroupRewards:
    if endpoint == "outcome" and outcome is not None:
        return GroupRewards(outcome.rewards, outcome, None, ())
    trajectory = np.zeros(len(group.rollouts))
    for each in judged:
        trajectory[list(each.cluster.members)] = each.rewards / group.tied
    if outcome is None:
        return GroupRewards(trajectory, None, trajectory, judged)
    lambda_t = agreement.step_weight(progress, config)
    rewards = agreement.solver_rewards(outcome.rewards, trajectory, lambda_t)
    return GroupRewards(rewards, outcome, trajectory, judged)
