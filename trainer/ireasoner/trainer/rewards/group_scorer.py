"""Rewards of an update: groups go to the reward server, and come back with what each rollout earned."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from ireasoner.clients import Endpoint, Group, RewardClient, RewardError, Rollout, ScoredGroup, ScoreResponse
from ireasoner.trainer.errors import ScoringError
from ireasoner.trainer.rollouts.backoff import Backoff
from ireasoner.trainer.rollouts.rollout import Rollout as SampledRollout
from ireasoner.trainer.settings import RewardSettings

GroupRewards = list[float | None]
"""The reward of each rollout of a group; None where there is none to be had."""


class GroupScorer:
    """Scores groups through the reward server, or draws the rewards of the random control.

    Args:
        client: The reward server.
        settings: Which scoring config, and whether this run is a control.
        seed: Seed of the random control.
        on_wait: Called with a message each time a retry is waited for.
        is_alive: Whether the server can still come back; false ends every wait at once.
    """

    def __init__(
        self,
        client: RewardClient,
        settings: RewardSettings,
        seed: int,
        *,
        on_wait: Callable[[str], None] = lambda _: None,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._settings = settings
        self._seed = seed
        self._on_wait = on_wait
        self._is_alive = is_alive
        self._abstentions_in_a_row = 0
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
            ScoringError: Too many groups in a row could not be judged, or the server scores otherwise than before.
            RewardError: The server refused, or stayed away past the budget; see `clients`.
        """
        posted = [
            Group(id=name, rollouts=[Rollout(id=str(i), text=r.text) for i, r in enumerate(rollouts)])
            for name, rollouts in groups
        ]
        config: str | dict[str, Any] = self._settings.config
        if self._settings.overrides:
            config = {"preset": self._settings.config, **self._settings.overrides}
        response = self._post(endpoint, posted, config, progress)
        if self.fingerprint not in ("", response.fingerprint):
            raise ScoringError(
                f"the reward server scores otherwise than before: fingerprint {response.fingerprint}, "
                f"was {self.fingerprint}; a run is scored by one config, parser and embedder"
            )
        self.fingerprint = response.fingerprint
        for group in response.groups:
            self._count(endpoint, group)
        return list(response.groups)

    def _post(
        self,
        endpoint: Endpoint,
        posted: Sequence[Group],
        config: str | dict[str, Any],
        progress: float | None,
    ) -> ScoreResponse:
        """Posts until there is an answer or the budget is spent; scoring changes nothing, so it can be repeated."""
        backoff = Backoff(self._settings.retry_budget_s, first_pause_s=0.5, is_alive=self._is_alive)
        while True:
            try:
                return self._client.score(endpoint, posted, config=config, progress=progress)
            except RewardError as error:
                if not error.retryable or not backoff.left_s or not self._is_alive():
                    raise
                self._on_wait(f"reward server: {error}; trying for another {backoff.left_s:.0f} s")
                backoff.wait()

    def _count(self, endpoint: Endpoint, group: ScoredGroup) -> None:
        """Counts the groups in a row that the server could not judge: an `invalid` one was judged, and is worth 0."""
        if endpoint == "proposer":
            judged = group.proposer_reward is not None
        else:
            judged = any(rollout.reward is not None for rollout in group.rollouts)
        self._abstentions_in_a_row = 0 if judged else self._abstentions_in_a_row + 1
        if self._abstentions_in_a_row > self._settings.abstentions_in_a_row:
            raise ScoringError(
                f"the reward server could not judge {self._abstentions_in_a_row} groups in a row"
            )

    def of(self, reward: float | None, *place: int) -> float | None:
        """What the policy is trained on: the reward itself, or a uniform draw in the random control.

        The draw depends on the run's seed and the rollout's `place` (update, group, member) alone.
        """
        if self._settings.control == "random" and reward is not None:
            return random.Random(f"{self._seed}/{place}").random()
        return reward
