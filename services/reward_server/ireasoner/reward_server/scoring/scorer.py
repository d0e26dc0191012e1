"""From a request's groups to their scores: read, embed the steps to compare, compute, write."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Literal

import numpy as np

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.alignment import Doubles
from ireasoner.reward_server.agreement.trajectories import Floats, JudgedCluster, background_of, judge
from ireasoner.reward_server.answers.formulas import ExpressionComparer
from ireasoner.reward_server.embedding.batching import EmbeddingBatcher
from ireasoner.reward_server.scoring.fingerprint import fingerprint
from ireasoner.reward_server.scoring.read_group import Pace, ReadGroup, read_group
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring.response import GroupRewards, Json, scored_group
from ireasoner.reward_server.scoring_config import ScoringConfig

Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]


class Scorer:
    """Scores groups. A group's scores depend on that group, the config and the embedder alone."""

    def __init__(self, batcher: EmbeddingBatcher, configs: ConfigRegistry) -> None:
        self._batcher = batcher
        self._configs = configs
        self._comparer = ExpressionComparer()

    async def stop(self) -> None:
        """Ends the process that compares formulas."""
        await self._comparer.stop()

    async def score(
        self, endpoint: Endpoint, request: wire.ScoreRequest, progress: float, request_id: str
    ) -> Json:
        """Scores every group of `request`; returns what `wire.ScoreResponse` describes.

        `progress`, in [0, 1], matters to the endpoint `solver` only.

        Raises MalformedRequest for an unknown config, ConfigNotSaved, FormulasUnavailable, and what
        `EmbeddingBatcher.embed` raises.
        """
        config = self._configs.use(request.config)
        pace = Pace()
        groups = [await read_group(group, config, self._comparer, pace) for group in request.groups]
        judged: Sequence[Sequence[JudgedCluster]] = [()] * len(groups)
        if endpoint in ("trajectory", "solver"):
            judged = await self._judge_steps(groups, config, pace)
        scored = []
        for group, outcome, clusters in zip(groups, _outcomes(groups, config), judged, strict=True):
            if pace.is_due:
                await pace.rest()
            rewards = None
            if endpoint != "proposer":
                rewards = _rewards(endpoint, group, outcome, clusters, config, progress)
            scored.append(scored_group(group, config, request.detail, rewards))
        return {
            "request_id": request_id,
            "fingerprint": fingerprint(config, self._batcher.backend.identity),
            "groups": scored,
        }

    async def _judge_steps(
        self, groups: Sequence[ReadGroup], config: ScoringConfig, pace: Pace
    ) -> list[list[JudgedCluster]]:
        """Embeds the steps of every group's dominant clusters together, and judges them group by group."""
        texts = [group.compared_steps for group in groups]
        embeddings = await self._batcher.embed(chain.from_iterable(texts))
        judged = []
        for group, steps in zip(groups, texts, strict=True):
            if pace.is_due:
                await pace.rest()
            judged.append(_judge_group(group, embeddings.stacked(steps), config))
        return judged


def _judge_group(group: ReadGroup, rows: Floats, config: ScoringConfig) -> list[JudgedCluster]:
    """Judges the dominant clusters of a group; `rows` [S, D] embed its `compared_steps`."""
    background = background_of(rows) if config.centring == "group" else None
    ends = accumulate((sum(map(len, cluster.steps)) for cluster in group.dominant_clusters), initial=0)
    return [
        judge(
            cluster,
            rows[start:end],
            agreement.density(group.effective_share(group.rollouts[cluster.members[0]].answer), config),
            config,
            background,
        )
        for cluster, (start, end) in zip(group.dominant_clusters, pairwise(ends), strict=True)
    ]


def _outcomes(groups: Sequence[ReadGroup], config: ScoringConfig) -> Iterator[Doubles]:
    """The outcome rewards [N] of each group, computed for all groups at once."""
    shares = np.array([share for group in groups for share in group.effective_shares()])
    words = np.array([rollout.words for group in groups for rollout in group.rollouts], np.float64)
    rewards = agreement.outcome_rewards(shares, words, config)
    for start, end in pairwise(accumulate((len(group.rollouts) for group in groups), initial=0)):
        yield rewards[start:end]


def _rewards(
    endpoint: Endpoint,
    group: ReadGroup,
    outcome: Doubles,
    judged: Sequence[JudgedCluster],
    config: ScoringConfig,
    progress: float,
) -> GroupRewards:
    if endpoint == "outcome":
        return GroupRewards(outcome, outcome, None, ())
    trajectory = np.zeros(len(group.rollouts))
    for each in judged:
        trajectory[list(each.cluster.members)] = each.rewards / group.tied
    if endpoint == "trajectory":
        return GroupRewards(trajectory, None, trajectory, judged)
    lambda_t = agreement.step_weight(progress, config)
    return GroupRewards(agreement.solver_rewards(outcome, trajectory, lambda_t), outcome, trajectory, judged)
