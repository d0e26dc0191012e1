"""TRL: `ireasoner.clients.trl_reward.GroupReward` for `GRPOTrainer` and `RLOOTrainer`. Written for 1.16."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ireasoner.clients.framework_context import Context, cells, read_context
from ireasoner.clients.ranks import over_ranks
from ireasoner.clients.reward_service import Judged, RewardService, SplitGroups, means, progress_of, siblings
from ireasoner.clients.wire import Config


class _Row(NamedTuple):
    """A completion; rows of one prompt have one key."""

    key: str
    text: str
    context: Context


class GroupReward:
    """One reward per completion, None if the server abstains; the parts of the reward go into the run's charts.

    With several processes, all completions are gathered first, so that groups that are split over ranks are scored
    whole. If a batch cannot be scored, every rank gets None and the error is logged; a single process raises
    RewardError. The weight of the step reward follows the trainer's progress.

    `num_generations` and `num_generations_eval` are the trainer's; TRL does not pass them on, and they separate
    consecutive groups of one prompt. For `url`, `config` and `source`, the name of the run in the server's ledger, see
    `RewardService.configured`.
    """

    def __init__(
        self,
        num_generations: int,
        url: str | None = None,
        config: Config | None = None,
        num_generations_eval: int | None = None,
        source: str | None = None,
    ):
        self.__name__ = "agreement"
        self._sizes = {num_generations, num_generations_eval or num_generations}
        self._service = RewardService.configured(url, config, source=source)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Returns the rewards of this rank's completions; groups are contiguous over all ranks."""
        mine = over_ranks(
            lambda: self._read(prompts, completions, columns, trainer_state),
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

    def _read(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any], state: Any
    ) -> list[_Row]:
        """This rank's rows; their images are put here, so that other ranks need no more than their hashes."""
        contexts = [read_context(_context, prompt, columns, row, state) for row, prompt in enumerate(prompts)]
        hashes = self._put_once([context.image for context in contexts])
        return [
            _Row(_key(prompt), _text(completion), replace(context, image=image))
            for prompt, completion, context, image in zip(prompts, completions, contexts, hashes, strict=True)
        ]

    def _put_once(self, images: Sequence[object]) -> list[str | None]:
        """Puts each image once, although all rows of a group hold it; returns the SHA-256 for each row."""
        keys = [_image_key(image) for image in images]
        distinct = dict(zip(keys, images, strict=True))
        put = dict(zip(distinct, self._service.put_images([*distinct.values()]), strict=True))
        return [put[key] for key in keys]

    def _judge(self, rows: Sequence[_Row], progress: float) -> list[Judged]:
        groups = siblings([row.key for row in rows], *self._sizes)
        if odd := {len(group) for group in groups} - self._sizes:
            raise SplitGroups(
                f"{max(odd)} consecutive rows have one prompt; num_generations is {self._sizes}"
            )
        scored = self._service.score(
            [[rows[index].text for index in group] for group in groups],
            progress,
            [rows[group[0]].context for group in groups],
        )
        return [each for group in scored for each in group]


def _context(prompt: Any, columns: Mapping[str, Any], row: int, state: Any) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "images": [*cells(columns, row, ["image", "images"]).values()],
        "labels": cells(columns, row),
        "update": getattr(state, "global_step", None),
    }


def _key(prompt: Any) -> str:
    """A hash of a prompt with its images."""
    return hashlib.sha256(json.dumps(prompt, default=_digest).encode()).hexdigest()


def _digest(image: Any) -> str:
    """A hash of the pixels and the size of a picture, or of bytes."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    return f"{getattr(image, 'size', None)} {hashlib.sha256(image.tobytes()).hexdigest()}"


def _image_key(image: Any) -> object:
    """Equal for images with the same content, in whatever form they come."""
    try:
        return image if isinstance(image, str | bytes | None) else _key(image)
    except Exception:  # noqa: BLE001  a framework may hold anything here
        return id(image)


def _text(completion: Any) -> str:
    """The text of the last message; empty, which is an `invalid` rollout, if the policy wrote no text."""
    last = {"content": completion, "role": "assistant"} if isinstance(completion, str) else completion[-1]
    content = (last["role"] == "assistant" and last.get("content")) or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
