"""What TRL gives a reward function for one batch, and what it shows of the rewards: charts, tables and warnings."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from ireasoner.clients.framework_context import Context, cells, read_context
from ireasoner.clients.judged import Judged, mean, means, step_weight

log = logging.getLogger("trl")


class Row(NamedTuple):
    """A completion; rows of one prompt have one key."""

    key: str
    text: str
    context: Context


class Batch:
    """One call of a reward function.

    Args:
        prompts: Texts, or lists of messages, in which images may be.
        completions: Texts, or lists of messages.
        columns: Whatever else TRL passes: columns of the data set, `trainer_state`, `log_metric` and `log_extra`.
        put_images: Returns the SHA-256 of each image, once the server has it.
    """

    def __init__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        columns: Mapping[str, Any],
        put_images: Callable[[Sequence[object]], list[str | None]],
    ) -> None:
        self._prompts = prompts
        self._completions = completions
        self._columns = columns
        self._put_images = put_images
        self.state = columns.get("trainer_state")

    @property
    def shows_steps(self) -> bool:
        """Whether TRL has a table for them."""
        return self._columns.get("log_extra") is not None

    def rows(self) -> list[Row]:
        """This rank's rows; their images are put here, so that other ranks need no more than their hashes."""
        contexts = [read_context(self._context, row) for row in range(len(self._prompts))]
        hashes = self._put_once([context.image for context in contexts])
        return [
            Row(_key(prompt), _text(completion), replace(context, image=image))
            for prompt, completion, context, image in zip(
                self._prompts, self._completions, contexts, hashes, strict=True
            )
        ]

    def shown(self, judged: Sequence[Judged]) -> Sequence[Judged]:
        """The same rewards, which are now in the charts and in the table of completions."""
        log_metric, log_extra = self._columns.get("log_metric"), self._columns.get("log_extra")
        if log_metric is not None:
            for name, value in _charted(judged).items():
                log_metric(f"agreement/{name}", value)
        if log_extra is not None:
            log_extra("agreement_answer", [each.answer for each in judged])
            log_extra("agreement_steps", ["\n".join(each.steps) for each in judged])
            log_extra("agreement_fingerprint", [each.fingerprint for each in judged])
        for fingerprint in {each.fingerprint for each in judged}:
            _report_fingerprint(fingerprint)
        abstentions.note(judged)
        return judged

    def _context(self, row: int) -> dict[str, Any]:
        return {
            "prompt": self._prompts[row],
            "images": [*cells(self._columns, row, ["image", "images"]).values()],
            "labels": cells(self._columns, row),
            "update": getattr(self.state, "global_step", None),
        }

    def _put_once(self, images: Sequence[object]) -> list[str | None]:
        """Puts each image once, although all rows of a group hold it; returns the SHA-256 for each row."""
        keys = [_image_key(image) for image in images]
        distinct = dict(zip(keys, images, strict=True))
        put = dict(zip(distinct, self._put_images([*distinct.values()]), strict=True))
        return [put[key] for key in keys]


class Abstentions(logging.Filter):
    """Says once that completions have no reward, in place of TRL, which prints one's prompt and columns every time."""

    def __init__(self) -> None:
        super().__init__()
        self._in_this_batch = False
        self._is_said = False

    def note(self, judged: Sequence[Judged | None]) -> None:
        """Takes in what a batch got."""
        for trainer in ("grpo", "rloo"):
            logging.getLogger(f"trl.trainer.{trainer}_trainer").addFilter(self)
        self._in_this_batch = any(each is None or each.reward is None for each in judged)
        abstained = [each for each in judged if each is not None and each.reward is None]
        if abstained and not self._is_said:
            self._is_said = True
            log.warning(
                "the reward server abstained from %d of %d completions (%s); they get no advantage, and the chart "
                "agreement/abstained shows the share of such completions from now on",
                len(abstained),
                len(judged),
                abstained[0].reason,
            )

    def filter(self, record: logging.LogRecord) -> bool:
        """Drops TRL's warning about completions for which no reward function returned a number."""
        is_trls = "All reward functions returned None" in str(
            record.msg
        )  # accelerate puts the rank before it
        return not (is_trls and self._in_this_batch)


abstentions = Abstentions()


def _charted(judged: Sequence[Judged]) -> dict[str, float]:
    """The means of what is known."""
    several = {"entropy": mean(each.entropy_nats for each in judged), "lambda": step_weight(judged)}
    return means(judged) | {name: value for name, value in several.items() if value is not None}


@cache
def _report_fingerprint(fingerprint: str) -> None:
    log.info("rewards have the fingerprint %s", fingerprint)


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
