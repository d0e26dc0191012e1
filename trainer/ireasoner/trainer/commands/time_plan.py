"""The time of a planned run, from a stated throughput: at most, if every completion has its maximum of tokens."""

from dataclasses import dataclass

from ireasoner.trainer.commands.image_plan import ImagePlan
from ireasoner.trainer.loop.role_schedule import groups_at, role_at
from ireasoner.trainer.settings import Role, RunSettings
from ireasoner.trainer.views import named_views


@dataclass(frozen=True, slots=True)
class TimePlan:
    """The tokens of a run, and the seconds that they take.

    Attributes:
        sampled_tokens: New tokens that the rollout servers sample in the whole run, at most; replies of a judge are not
            among them.
        trained_tokens: Tokens of prompts and completions in the training forward passes of the whole run, at most;
            None if the model has no tokenizer to measure prompts with.
        seconds: Of sampling and training; None without the throughput of both.
    """

    sampled_tokens: int
    trained_tokens: int | None
    seconds: float | None

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What to show of it, as names and values."""
        trained = (
            "not known without a tokenizer" if self.trained_tokens is None else f"{self.trained_tokens:,}"
        )
        missing = "state throughput.rollout_tokens_per_s and throughput.trained_tokens_per_s for an estimate"
        return [
            ("tokens sampled in the run, at most", f"{self.sampled_tokens:,}"),
            ("tokens trained in the run, at most", trained),
            ("time, estimated, at most", missing if self.seconds is None else _duration(self.seconds)),
        ]


def time_plan(settings: RunSettings, images: ImagePlan, *, packed: bool) -> TimePlan:
    """Adds up the updates of a run.

    Args:
        settings: The run.
        images: Its images and prompts.
        packed: Whether the rollouts of a prompt share its forward pass, which gradient checkpointing prevents.
    """
    updates: dict[tuple[Role, int], int] = {}
    for update in range(settings.updates):
        kind = role_at(settings, update), groups_at(settings, update)
        updates[kind] = updates.get(kind, 0) + 1
    sampled = sum(count * _sampled(settings, *kind) for kind, count in updates.items())
    trained = None
    if images.prompt_tokens and images.mean_tokens is not None:
        trained = round(
            sum(
                count
                * _trained(settings, *kind, images.prompt_tokens[kind[0]] + images.mean_tokens, packed=packed)
                for kind, count in updates.items()
            )
        )
    return TimePlan(sampled, trained, _seconds(settings, sampled, trained))


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
    rollout, size = settings.rollout, settings.group_size
    completion = rollout.solver_max_tokens if role == "solver" else rollout.proposer_max_tokens
    views = settings.views.count if role == "solver" else 1
    return groups * ((views if packed else size) * prompt_tokens + size * completion)


def _seconds(settings: RunSettings, sampled: int, trained: int | None) -> float | None:
    speed = settings.throughput
    if trained is None or speed.rollout_tokens_per_s is None or speed.trained_tokens_per_s is None:
        return None
    parts = sampled / speed.rollout_tokens_per_s, trained / speed.trained_tokens_per_s
    return max(parts) if settings.overlap else sum(parts)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, left = divmod(round(minutes), 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (left, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
