"""The groups that the report shows in full, chosen by rule and prepared for the template."""

import base64
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ireasoner.trainer.errors import UnreadableImageError
from ireasoner.trainer.images import png_bytes, read_image
from ireasoner.trainer.report.group_index import IndexedGroup, WindowedGroups
from ireasoner.trainer.run_folder.run_folder import read_line_at

_LARGEST_SIDE_PX = 480
_FLAWS = {
    "no_answer": "no answer",
    "empty_answer": "empty answer",
    "answer_not_closed": "unclosed answer",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step with its cosine to the group's mean step at its position (None: not compared), and its weight, from 0."""

    text: str
    cosine: float | None
    weight: float

    @property
    def tint(self) -> str:
        """The cosine's distance from 0.7 as a CSS colour: blue towards 1, orange towards 0.4 and below."""
        assert self.cosine is not None
        strength = min(abs(self.cosine - 0.7) / 0.3, 1.0)
        name = "--agree" if self.cosine >= 0.7 else "--differ"
        return f"color-mix(in srgb, var({name}) {8 + 60 * strength:.0f}%, transparent)"


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout of a Solver group."""

    status: str
    flaw: str | None
    answer: str | None
    dominant: bool
    outcome: float | None
    trajectory: float | None
    reward: float | None
    trained_on: float | None
    steps: list[Step]
    text: str


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposal of a Proposer group."""

    question: str | None
    text: str
    reward: float | None
    entropy_nats: float | None
    trained_on: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A group, and why it is shown.

    Attributes:
        why: What it is an example of.
        update: The update that trained on it, from 1.
        image: Data URL of the image, scaled down; None if the file cannot be read any more.
        record: The group's line in groups.jsonl.
        answers: Solver: how often each answer was given, most frequent first; None means no valid answer.
    """

    why: str
    role: str
    update: int
    image: str | None
    image_name: str
    record: dict[str, Any]
    answers: list[tuple[str | None, int]]
    rollouts: list[RolloutView]
    proposals: list[ProposalView]


@dataclass(frozen=True, slots=True)
class SampleSection:
    """The samples of one window, and the examples that it lacks."""

    title: str
    samples: list[Sample]
    missing: list[str]


_SOLVER_EXAMPLES: tuple[tuple[str, str, Callable[[IndexedGroup], bool]], ...] = (
    ("unanimous", "a unanimous Solver group", lambda group: group.unanimous and not group.flawed),
    ("tied", "a tied Solver group", lambda group: group.tie),
    ("with an invalid rollout", "a Solver group with an invalid rollout", lambda group: group.flawed),
    ("no question", "a proposal without a question", lambda group: group.asks_nothing),
)


def choose(path: Path, windowed: WindowedGroups, title: str, *, late: bool) -> SampleSection:
    """Picks one group of each type from a window: the first of its type, or the last if `late`.

    For the Solver: the group of median entropy among those whose answers differ, then a unanimous, a tied and a flawed
    one, and one without a question. For the Proposer: the group of median mean reward.
    """
    samples, missing = [], []
    chosen: set[int] = set()
    solver = windowed.groups["solver"][:: -1 if late else 1]
    proposer = windowed.groups["proposer"][:: -1 if late else 1]

    def take(group: IndexedGroup | None, why: str, otherwise: str) -> None:
        if group is None:
            missing.append(otherwise)
        else:
            chosen.add(group.offset)
            samples.append(_sample(read_line_at(path, group.offset), why))

    differing = [group for group in solver if group.score]
    take(_median_group(differing), "median disagreement", "a Solver group whose answers differ")
    for why, otherwise, fits in _SOLVER_EXAMPLES:
        fitting = (group for group in solver if fits(group) and group.offset not in chosen)
        take(next(fitting, None), why, otherwise)
    take(_median_group(proposer), "median reward", "a scored Proposer group")
    return SampleSection(title, samples, missing)


def data_url(path: Path) -> str | None:
    """The image as a data URL, at most 480 px per side; None if it cannot be read any more."""
    try:
        image = read_image(path)
    except UnreadableImageError:
        return None
    mime, content = "png", png_bytes(image)
    if max(image.size) > _LARGEST_SIDE_PX:
        image.thumbnail((_LARGEST_SIDE_PX, _LARGEST_SIDE_PX))
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=85)
        mime, content = "jpeg", buffer.getvalue()
    return f"data:image/{mime};base64,{base64.b64encode(content).decode('ascii')}"


def _median_group(groups: list[IndexedGroup]) -> IndexedGroup | None:
    scored = [(group.score, group) for group in groups if group.score is not None]
    if not scored:
        return None
    middle = median(score for score, _ in scored)
    return min(scored, key=lambda pair: abs(pair[0] - middle))[1]


def _sample(record: dict[str, Any], why: str) -> Sample:
    solver = record["role"] == "solver"
    rollouts = _rollouts(record) if solver else []
    counts = Counter(rollout.answer if rollout.status == "ok" else None for rollout in rollouts)
    valid = [(answer, count) for answer, count in counts.most_common() if answer is not None]
    return Sample(
        why=why,
        role=str(record["role"]),
        update=int(record["update"]) + 1,
        image=data_url(Path(record["image"])),
        image_name=Path(record["image"]).name,
        record=record,
        answers=[*valid, *([(None, counts[None])] if counts[None] else [])],
        rollouts=sorted(
            rollouts, key=lambda r: (r.status != "ok", not r.dominant, -counts[r.answer], r.answer or "")
        ),
        proposals=[] if solver else _proposals(record),
    )


def _rollouts(record: dict[str, Any]) -> list[RolloutView]:
    views = []
    for rollout, trained_on in zip(record["rollouts"], record["trained_on"], strict=True):
        ok = rollout["status"] == "ok"
        views.append(
            RolloutView(
                status=rollout["status"],
                flaw=None if ok else _flaw(rollout),
                answer=rollout["answer"],
                dominant=ok and rollout["answer"] == record["dominant_answer"],
                outcome=rollout["outcome"],
                trajectory=rollout["trajectory"],
                reward=rollout["reward"],
                trained_on=trained_on,
                steps=[
                    Step(step["text"], step["cosine"], min(max(step["weight"], 0.0), 1.0))
                    for step in rollout["steps"]
                ],
                text=rollout["text"],
            )
        )
    return views


def _flaw(rollout: dict[str, Any]) -> str:
    reason = rollout.get("reason")
    said = _FLAWS.get(reason, str(reason)) if reason else "no usable answer"
    return f"{said}, cut off at the token limit" if rollout["finish_reason"] == "length" else said


def _proposals(record: dict[str, Any]) -> list[ProposalView]:
    views = [
        ProposalView(p["question"], p["text"], p["reward"], p["entropy_nats"], trained_on)
        for p, trained_on in zip(record["proposals"], record["trained_on"], strict=True)
    ]
    return sorted(views, key=lambda view: -1.0 if view.reward is None else view.reward, reverse=True)
