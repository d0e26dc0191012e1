"""TRL: `GRPOTrainer(reward_funcs=GroupReward(num_generations=8), ...)`, also `RLOOTrainer`. Written for 1.16."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from ireasoner.clients.ranks import over_ranks
from ireasoner.clients.reward_service import (
    Judged,
    RewardService,
    UnknownGroups,
    means,
    progress_of,
    siblings,
)
from ireasoner.clients.wire import Config


class GroupReward:
    """One reward a completion, None where the server abstains; its parts go into the run's charts.

    Several processes gather all their completions, so that groups split over ranks are scored whole. If they
    cannot be scored, all get None and an error is logged; a single process raises a RewardError. The step
    reward's weight follows the trainer's progress.

    Args:
        num_generations: The trainer's, which TRL does not tell; one prompt may have several groups in a row.
        url: The reward server; see `RewardService.configured` for it and for `config`.
        config: A config's name, or overrides on one.
        num_generations_eval: The trainer's, if it has one.
    """

    def __init__(
        self,
        num_generations: int,
        url: str | None = None,
        config: Config | None = None,
        num_generations_eval: int | None = None,
    ):
        self.__name__ = "agreement"
        self._sizes = {num_generations, num_generations_eval or num_generations}
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
        mine = over_ranks(
            lambda: [(_key(prompt), _text(each)) for prompt, each in zip(prompts, completions, strict=True)],
            lambda rows: self._judge(rows, progress_of(trainer_state)),
        )
        if mine is None:
            return [None] * len(completions)
        if log_metric is not None:
            for name, value in means(mine).items():
                log_metric(f"agreement/{name}", value)
        if log_extra is not None:
            log_extra("agreement_answer", [each.answer for each in mine])
        return [each.reward for each in mine]

    def _judge(self, rows: Sequence[tuple[str, str]], progress: float) -> list[Judged]:
        groups = siblings([key for key, _ in rows], *self._sizes)
        if odd := {len(group) for group in groups} - self._sizes:
            raise UnknownGroups(f"{max(odd)} rows in a row have one prompt; num_generations is {self._sizes}")
        scored = self._service.score([[rows[index][1] for index in group] for group in groups], progress)
        return [each for group in scored for each in group]


def _key(prompt: Any) -> str:
    """The same for equal prompts, images included."""
    text = json.dumps(prompt, default=lambda image: hashlib.sha256(image.tobytes()).hexdigest())
    return hashlib.sha256(text.encode()).hexdigest()


def _text(completion: Any) -> str:
    """What the policy said last; empty, which has no answer and is `invalid`, if that was no text."""
    last = {"content": completion, "role": "assistant"} if isinstance(completion, str) else completion[-1]
    content = (last["role"] == "assistant" and last.get("content")) or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
