"""TRL: `ireasoner.clients.trl_reward.GroupReward` for `GRPOTrainer`, `RLOOTrainer` and `AsyncGRPOTrainer`.

Written for 1.0 to 1.16. `AsyncGroupReward` needs 1.14.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from ireasoner.clients.batches import SplitGroups, progress_of, siblings
from ireasoner.clients.connection import ToLogger
from ireasoner.clients.errors import RewardError
from ireasoner.clients.judged import Judged
from ireasoner.clients.ranks import over_ranks, over_ranks_async
from ireasoner.clients.reward_service import GiveUp, RewardService
from ireasoner.clients.trl_batch import Batch, Row, abstentions
from ireasoner.clients.trl_components import (
    PARTS,
    AllJudged,
    Rewards,
    async_components,
    components,
    rewards_of,
)
from ireasoner.clients.wire import Config


class GroupReward:
    """One reward per completion, None if the server abstains; the parts of the reward go into the run's charts.

    With several processes, all completions are gathered first, so that groups that are split over ranks are scored
    whole; an error ends every rank. The weight of the step reward follows the trainer's progress.

    `num_generations` and `num_generations_eval` are the trainer's; TRL does not pass them on, and they separate
    consecutive groups of one prompt. If the server cannot be reached within the retry budget, a batch raises
    RewardError, or with `give_up="none"` all of it gets None. For `url`, `config` and `source`, the name of the run in
    the server's ledger, see `RewardService.configured`.
    """

    def __init__(
        self,
        num_generations: int,
        url: str | None = None,
        config: Config | None = None,
        num_generations_eval: int | None = None,
        source: str | None = None,
        give_up: GiveUp | None = None,
    ):
        self.__name__ = "agreement"
        self._sizes = {num_generations, num_generations_eval or num_generations}
        self._service = RewardService.configured(
            url, config, source=source, give_up=give_up, takes_none=True, warn=ToLogger("trl")
        )

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
        """Returns the rewards of this rank's completions; groups are contiguous over all ranks."""
        return rewards_of(self.judged(prompts, completions, **columns))

    def components(self, *names: str) -> list[Callable[..., Any]]:
        """One reward function per part of the reward, which share one request per batch.

        They are for `multi_objective_aggregation="normalize_then_sum"`. By default the parts are `outcome` and
        `trajectory`; components of the outcome reward can be named, too. All must be given to the trainer.
        """
        return components(self.judged, names or PARTS)

    def judged(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> AllJudged:
        """What the server made of each completion, None if it was given up; logs what TRL can show."""
        batch = Batch(prompts, completions, columns, self._service.put_images)
        try:
            return batch.shown(over_ranks(batch.rows, partial(self._score, batch)))
        except RewardError as error:
            return self._given_up(error, len(completions))

    def _score(self, batch: Batch, rows: Sequence[Row]) -> list[Judged]:
        return [*chain.from_iterable(self._service.score(*self._asked(batch, rows)))]

    def _given_up(self, error: RewardError, count: int) -> AllJudged:
        self._service.given_up(error)
        nothing = [None] * count
        abstentions.note(nothing)
        return nothing

    def _asked(self, batch: Batch, rows: Sequence[Row]) -> tuple[Any, ...]:
        """The arguments of the service for the rows of all ranks. Raises SplitGroups."""
        groups = siblings([row.key for row in rows], *self._sizes)
        if odd := {len(group) for group in groups} - self._sizes:
            raise SplitGroups(
                f"{max(odd)} consecutive rows have one prompt; num_generations is {self._sizes}"
            )
        return (
            [[rows[index].text for index in group] for group in groups],
            progress_of(batch.state),
            [rows[group[0]].context for group in groups],
            "full" if batch.shows_steps else "rewards",
        )


class AsyncGroupReward(GroupReward):
    """`GroupReward` for the event loop that TRL keeps for asynchronous reward functions, which all run at once there.

    Its connections stay open from batch to batch.
    """

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> Rewards:
        """Returns the rewards of this rank's completions."""
        return rewards_of(await self.judged_async(prompts, completions, **columns))

    async def judged_async(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> AllJudged:
        """`judged` on TRL's event loop."""
        self._service.keep_connections()
        batch = Batch(prompts, completions, columns, self._service.put_images)
        try:
            return batch.shown(await over_ranks_async(batch.rows, partial(self._score_async, batch)))
        except RewardError as error:
            return self._given_up(error, len(completions))

    def components(self, *names: str) -> list[Callable[..., Any]]:
        """The same as asynchronous reward functions."""
        return async_components(self.judged_async, names or PARTS)

    async def _score_async(self, batch: Batch, rows: Sequence[Row]) -> list[Judged]:
        return [*chain.from_iterable(await self._service.score_async(*self._asked(batch, rows)))]
