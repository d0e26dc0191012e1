"""Rewards of an update: groups go to the reward server, and come back with what each rollout earned."""

import random
from collections.abc import Sequence
from typing import Any

from clients import Endpoint, Group, RewardClient, Rollout, ScoredGroup
from trainer.errors import ScoringError
from trainer.rollout import Rollout as SampledRollout
from trainer.settings import RewardSettings


class GroupScorer:
    """Scores groups through the reward server, or draws the rewards of the random control.

    Args:
        client: The reward server.
        settings: Which scoring config, and whether this run is a control.
        seed: Seed of the random control.
    """

    def __init__(self, client: RewardClient, settings: RewardSettings, seed: int) -> None:
        self._client = client
        self._settings = settings
        self._seed = seed
        self.fingerprint = ""

    def score(
        self,
        endpoint: Endpoint,
        groups: Sequence[tuple[str, Sequence[SampledRollout]]],
        progress: float | None,
    ) -> list[ScoredGroup]:
        """Scores named groups of rollouts, in order.

        Args:
            endpoint: "solver" or "proposer".
            groups: The id and the rollouts of each group.
            progress: t in [0, 1], for the Solver's mix of outcome and trajectory; None for the Proposer.

        Raises:
            ScoringError: More than half of the groups were not scored.
        """
        posted = [
            Group(id=name, rollouts=[Rollout(id=str(i), text=r.text) for i, r in enumerate(rollouts)])
            for name, rollouts in groups
        ]
        config: str | dict[str, Any] = self._settings.config
        if self._settings.overrides:
            config = {"preset": self._settings.config, **self._settings.overrides}
        response = self._client.score(endpoint, posted, config=config, progress=progress)
        self.fingerprint = response.fingerprint
        unscored = [group.id for group in response.groups if group.status != "ok"]
        if len(unscored) * 2 > len(posted):
            raise ScoringError(
                f"{len(unscored)} of {len(posted)} groups were not scored, the first is {unscored[0]}"
            )
        return list(response.groups)

    def of(self, reward: float | None, *place: int) -> float | None:
        """What the policy is trained on: the reward itself, or a uniform draw in the random control.

        The draw depends on the run's seed and the rollout's `place` (update, group, member) alone.
        """
        if self._settings.control == "random" and reward is not None:
            return random.Random(f"{self._seed}/{place}").random()
        return reward
