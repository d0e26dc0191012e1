"""The images of a planned run: which ones it can use, and whether they fit into the model context."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ireasoner.trainer.adapters.architecture import refuse_other_inputs
from ireasoner.trainer.adapters.backbone import load_config, load_image_processor, load_processor
from ireasoner.trainer.commands.memory_plan import Lengths
from ireasoner.trainer.errors import RolloutServerError, SettingsError
from ireasoner.trainer.images import ImageSet, ImageSizeCheck
from ireasoner.trainer.loop.usable_images import (
    prompt_tokens,
    scan_images,
    size_check,
    text_tokens,
)
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import proposer_messages, solver_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.settings import ROLES, Role, RunSettings

_ASK_S = 5.0
"""Timeout of the one request to a rollout server."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """Images and prompts of a run, in tokens.

    Attributes:
        images: Those that the run can use.
        largest_tokens: Tokens of the largest image; None if the model has nothing to measure them with.
        mean_tokens: Tokens of an image on average, likewise.
        context_tokens: The model context; None if it is not known.
        context_source: Who says so.
        text_tokens: The longest prompt without its image, and its completion; None without a tokenizer.
        prompt_tokens: The longest prompt of each role without its image; empty without a tokenizer.
        completion_tokens: The longest completion of each role.
    """

    images: ImageSet
    largest_tokens: int | None
    mean_tokens: float | None
    context_tokens: int | None
    context_source: str
    text_tokens: int | None
    prompt_tokens: dict[Role, int]
    completion_tokens: dict[Role, int]

    @property
    def lengths(self) -> Lengths | None:
        """The longest sequences that are trained; None if they are not known."""
        if self.largest_tokens is None or not self.prompt_tokens:
            return None
        candidates = [
            Lengths(self.prompt_tokens[role] + self.largest_tokens, self.completion_tokens[role])
            for role in ROLES
        ]
        return max(candidates, key=lambda each: each.prompt_tokens + each.completion_tokens)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What to show of it, as names and values."""
        missing = "not known: the model has no tokenizer to measure them with"
        if self.largest_tokens is None and self.text_tokens is None:
            missing = "not known: the model has no preprocessor_config.json"
        longest = missing
        if self.text_tokens is not None and self.largest_tokens is not None:
            longest = f"{self.text_tokens + self.largest_tokens:,}"
        context = "not known" if self.context_tokens is None else f"{self.context_tokens:,}"
        return [
            ("images", self.images.summary),
            (
                "tokens of the largest image",
                missing if self.largest_tokens is None else f"{self.largest_tokens:,}",
            ),
            ("tokens of the longest prompt and completion", longest),
            ("model context", f"{context}, {self.context_source}"),
        ]


def image_plan(settings: RunSettings, console: Console) -> ImagePlan:
    """Scans the images and measures the largest; asks the rollout server for its context if the settings name one.

    Raises:
        ImagesError: There are too few, or the largest does not fit into the model context.
        SettingsError: The processor makes no inputs that can be trained, or the context has no room for an image.
    """
    context, source = _context(settings)
    completions: dict[Role, int] = {
        "solver": settings.rollout.solver_max_tokens,
        "proposer": settings.rollout.proposer_max_tokens,
    }
    image_processor, processor = _processors(settings)
    images = scan_images(settings, console)
    if image_processor is None:
        return ImagePlan(images, None, None, context, source, None, {}, completions)
    if processor is None:  # then the text has no known length, and only the policy counts
        check = ImageSizeCheck(image_processor)
        images = images.fitting(check)
        images.require(settings.groups_per_update)
        return ImagePlan(images, *_largest_and_mean(images, check), context, source, None, {}, completions)
    check = size_check(processor, settings, context)
    images = images.fitting(check)
    images.require(settings.groups_per_update)
    return ImagePlan(
        images,
        *_largest_and_mean(images, check),
        context,
        source,
        text_tokens(processor, settings),
        {
            "solver": prompt_tokens(processor, solver_messages("")) + settings.rollout.proposer_max_tokens,
            "proposer": prompt_tokens(processor, proposer_messages()),
        },
        completions,
    )


def _processors(settings: RunSettings) -> tuple[Any, Any]:
    """The image processor and the whole processor; None for what the model has no files of.

    Raises:
        SettingsError: The processor, where it is there, makes no inputs that can be trained.
    """
    bounds = {"min_pixels": settings.rollout.min_pixels, "max_pixels": settings.rollout.max_pixels}
    image_processor = load_image_processor(settings.model, **bounds)
    if image_processor is None:
        return None, None
    try:
        processor = load_processor(settings.model, **bounds)
    except SettingsError:  # a dry run needs no tokenizer
        return image_processor, None
    refuse_other_inputs(settings.model, processor)
    return image_processor, processor


def _largest_and_mean(images: ImageSet, check: ImageSizeCheck) -> tuple[int | None, float | None]:
    tokens = [check.tokens(file.width, file.height) for file in images.files]
    known = [count for count in tokens if count is not None]
    return (max(known), sum(known) / len(known)) if known else (None, None)


def _context(settings: RunSettings) -> tuple[int | None, str]:
    """The model context, and who says so: the settings or the rollout server, else the model."""
    served, why_not = None, "of the model; a rollout server can have less"
    if "url" in settings.rollout.model_fields_set:
        served = _served_context(settings.rollout.url)
        why_not = f"of the model; {settings.rollout.url} did not answer or say"
    stated = settings.rollout.context_tokens
    if served is not None and (stated is None or served <= stated):
        return served, f"of {settings.rollout.url}"
    if stated is not None:
        return stated, "by rollout.context_tokens"
    own = getattr(load_config(settings.model).get_text_config(), "max_position_embeddings", None)
    return own, why_not


def _served_context(url: str) -> int | None:
    """The context of the servers at `url`; None if one did not answer or say."""
    rollouts = RolloutReplicas(
        [RolloutClient(each, timeout_s=_ASK_S, retry_budget_s=0) for each in url.split(",")]
    )
    try:
        return rollouts.context_tokens()
    # Unreachable, or another server, whose JSON can have any form.
    except (RolloutServerError, ValueError, KeyError, TypeError, AttributeError):
        return None
    finally:
        rollouts.close()
