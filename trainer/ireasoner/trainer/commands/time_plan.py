"""The time of a planned run, from a stated throughput, if every completion has its maximum of tokens."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ireasoner.trainer.commands.image_plan import ImagePlan
from ireasoner.trainer.loop.role_schedule import groups_at, role_at
from ireasoner.trainer.settings import Role, RunSettings
from ireasoner.trainer.views import named_views

_Kind = tuple[Role, int]
"""The role that an update trains, and on how many groups."""


@dataclass(frozen=True, slots=True)
class TimePlan:
    """The tokens of a run, and the seconds that they take.

    Attributes:
        sampled_tokens: New tokens that the rollout servers sample in the whole run, at most; replies of a judge are not
            among them.
        trained_tokens: Tokens of prompts and completions in the training forward passes of the whole run, if every
            completion has its maximum and every image the mean of all; None if prompts or images cannot be measured.
        seconds: Of sampling and training; None if `missing` says why.
        missing: Why the time, or the trained tokens too, are not known; empty if all is.
    """

    sampled_tokens: int
    trained_tokens: int | None
    seconds: float | None
    missing: str

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What to show of it, as names and values."""
        trained = self.missing if self.trained_tokens is None else f"{self.trained_tokens:,}"
        time = self.missing if self.seconds is None else _duration(self.seconds)
        return [
            ("tokens sampled in the run, at most", f"{self.sampled_tokens:,}"),
            ("tokens trained in the run, at most", trained),
            ("time, estimated, at most", time),
        ]


def time_plan(settings: RunSettings, images: ImagePlan, *, packed: bool) -> TimePlan:
    """Adds up the updates of a run.

    Args:
        settings: The run.
        images: Its images and prompts.
        packed: Whether the rollouts of a prompt share its forward pass, which gradient checkpointing prevents.
    """
    kinds: list[_Kind] = [
        (role_at(settings, update), groups_at(settings, update)) for update in range(settings.updates)
    ]
    counts = Counter(kinds)
    sampled = {kind: _sampled(settings, *kind) for kind in counts}
    sampled_tokens = sum(count * sampled[kind] for kind, count in counts.items())
    if not images.prompt_tokens or images.mean_tokens is None:
        what = "preprocessor_config.json" if images.mean_tokens is None else "tokenizer"
        return TimePlan(sampled_tokens, None, None, f"not known without a {what}")
    trained = {
        kind: _trained(settings, *kind, images.prompt_tokens[kind[0]] + images.mean_tokens, packed=packed)
        for kind in counts
    }
    trained_tokens = round(sum(count * trained[kind] for kind, count in counts.items()))
    speed = settings.throughput
    if speed.rollout_tokens_per_s is None or speed.trained_tokens_per_s is None:
        missing = "state throughput.rollout_tokens_per_s and throughput.trained_tokens_per_s for an estimate"
        return TimePlan(sampled_tokens, trained_tokens, None, missing)
    seconds = _seconds(
        kinds,
        {kind: tokens / speed.rollout_tokens_per_s for kind, tokens in sampled.items()},
        {kind: tokens / speed.trained_tokens_per_s for kind, tokens in trained.items()},
        overlap=settings.overlap,
    )
    return TimePlan(sampled_tokens, trained_tokens, seconds, "")


def _sampled(settings: RunSettings, role: Role, groups: int) -> int:
    """New tokens of an update of `role` on `groups` images."""
    rollout, size = settings.rollout, settings.group_size
    if role == "solver":
        return groups * (rollout.proposer_max_tokens + _answered(settings, with_views=True))
    return groups * size * (rollout.proposer_max_tokens + _answered(settings, with_views=False))


def _answered(settings: RunSettings, *, with_views: bool) -> int:
    """New tokens for one question: its rollouts, and for the Solver's own update its views and voters."""
    rollout, views, size = settings.rollout, settings.views, settings.group_size
    if not with_views:
        return size * rollout.solver_max_tokens
    contrast = 0 if views.contrast is None else views.contrast_rollouts or settings.rollouts_per_view
    voters = 0 if settings.reward.voters == "none" else size
    rewordings = sum(view.rewords for view in named_views(views.names)) + (
        settings.reward.voters == "paraphrase"
    )
    return (size + contrast + voters) * rollout.solver_max_tokens + rewordings * rollout.proposer_max_tokens


def _trained(settings: RunSettings, role: Role, groups: int, prompt_tokens: float, *, packed: bool) -> float:
    """Tokens of the training forward passes of an update of `role` on `groups` images."""
    rollout, rows = settings.rollout, groups * settings.group_size
    completion = rollout.solver_max_tokens if role == "solver" else rollout.proposer_max_tokens
    per_prompt = settings.rollouts_per_view if role == "solver" else settings.group_size
    prompts = _prompts(rows, per_prompt, settings.rollouts_per_micro_batch) if packed else rows
    return prompts * prompt_tokens + rows * completion


def _prompts(rows: int, per_prompt: int, per_pass: int) -> int:
    """Prompts in the packed passes of `rows` rollouts; one whose rollouts are in two passes counts in both.

    The passes are as `split_into_micro_batches` cuts them for one process.
    """
    passes = -(-rows // per_pass)
    length, longer = divmod(rows, passes)
    of_passes = {index * length + min(index, longer) for index in range(passes)}
    return len(of_passes.union(range(0, rows, per_prompt)))


def _seconds(
    kinds: Sequence[_Kind], sampling: Mapping[_Kind, float], training: Mapping[_Kind, float], *, overlap: bool
) -> float:
    """The seconds of updates; with `overlap` each is trained while the next is sampled."""
    if not overlap:
        return sum(sampling[kind] + training[kind] for kind in kinds)
    both = sum(max(training[kind], sampling[following]) for kind, following in pairwise(kinds))
    return sampling[kinds[0]] + both + training[kinds[-1]]


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, left = divmod(round(minutes), 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (left, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
