"""TRL: `GRPOTrainer(reward_funcs=GroupReward(num_generations=8), ...)`, also `RLOOTrainer`. Written for 1.16."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from clients.errors import RewardError
from clients.reward_service import Judged, RewardService, progress_of, siblings
from clients.wire import Config

log = logging.getLogger(__name__)


class GroupReward:
    """One reward a completion, None where the server abstains; its parts go into the run's charts.

    Several processes gather all their completions, so that groups split over ranks are scored whole. If the
    server fails one of them, its rows get None: raising would leave the others waiting. A single process
    raises a RewardError. The step reward's weight follows the trainer's progress.

    Args:
        num_generations: The trainer's; tells two groups of one prompt apart. Others: `RewardService`.
    """

    def __init__(
        self, num_generations: int | None = None, url: str | None = None, config: Config | None = None
    ):
        self.__name__ = "agreement"
        self._num_generations = num_generations
        self._service = RewardService.configured(url, config)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """The rewards of this rank's completions; groups are contiguous over all ranks."""
        rows = [(_key(prompt), _text(each)) for prompt, each in zip(prompts, completions, strict=True)]
        processes = PartialState()
        parts = gather_object([rows]) if processes.num_processes > 1 else [rows]
        first = sum(len(part) for part in parts[: processes.process_index])
        try:
            judged = self._judge([row for part in parts for row in part], trainer_state)
        except RewardError:
            if processes.num_processes == 1:
                raise
            log.exception("rank %d has no rewards for this batch", processes.process_index)
            return [None] * len(rows)
        mine = judged[first : first + len(rows)]
        if log_metric is not None and mine:
            for name in mine[0].metrics:
                log_metric(f"agreement/{name}", sum(each.metrics[name] for each in mine) / len(mine))
        if log_extra is not None:
            log_extra("agreement_answer", [each.answer for each in mine])
        return [each.reward for each in mine]

    def _judge(self, rows: Sequence[tuple[str, str]], trainer_state: Any) -> list[Judged]:
        groups = siblings([key for key, _ in rows], self._num_generations)
        progress = progress_of(trainer_state)
        scored = self._service.score([[rows[index][1] for index in group] for group in groups], progress)
        return [each for group in scored for each in group]


def _key(prompt: Any) -> str:
    """The same for equal prompts, images included."""
    text = json.dumps(prompt, default=lambda image: hashlib.sha256(image.tobytes()).hexdigest())
    return hashlib.sha256(text.encode()).hexdigest()


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
