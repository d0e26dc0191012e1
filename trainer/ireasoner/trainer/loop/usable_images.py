"""The images that a run can use: those that can be read, and that the policy and the model context can take."""

from functools import partial
from typing import Any

from rich.console import Console

from ireasoner.trainer.adapters.architecture import image_tokens
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.images import ImageSet, ImageSizeCheck, open_images
from ireasoner.trainer.monitoring.progress import progress_bar
from ireasoner.trainer.rewards.judge import judge_messages
from ireasoner.trainer.rewards.needs import NOTHING, Needs
from ireasoner.trainer.rollouts.paraphrase import paraphrase_messages
from ireasoner.trainer.rollouts.prompts import Message, proposer_messages, solver_messages
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.views import named_views


def scan_images(settings: RunSettings, console: Console) -> ImageSet:
    """The readable images of the run; shows progress while it decodes new ones.

    Raises:
        ImagesError: There are none, or fewer readable ones than an update needs.
        SettingsError: A setting of `data` means nothing for them.
    """
    with progress_bar(console) as bar:
        task = bar.add_task("read new images", total=None)

        def show(done: int, count: int) -> None:
            bar.update(task, total=count)
            bar.advance(task)

        images = open_images(settings.images, settings.data, show)
        bar.update(task, visible=False)
    images.require(settings.groups_per_update)
    return images


def usable_images(
    images: ImageSet,
    processor: Any,
    settings: RunSettings,
    context_tokens: int | None,
    needs: Needs = NOTHING,
) -> ImageSet:
    """The images without those that the policy cannot take.

    Args:
        images: The readable images.
        processor: The policy's processor, with the run's bounds in pixels.
        settings: The run.
        context_tokens: The model context (see `model_context`); None if it is not known.
        needs: What the scoring config needs besides texts.

    Raises:
        ImagesError: Fewer images are left than an update needs, or the largest does not fit into the model context.
        SettingsError: The model context has no room for any image.
    """
    usable = images.fitting(size_check(processor, settings, context_tokens, needs))
    usable.require(settings.groups_per_update)
    return usable


def size_check(
    processor: Any, settings: RunSettings, context_tokens: int | None, needs: Needs = NOTHING
) -> ImageSizeCheck:
    """The sizes that the policy and the model context can take; see `usable_images` for the arguments.

    Raises:
        SettingsError: The model context has no room for any image.
    """
    longest, setting = _longest_text(processor, settings, needs)
    room = None if context_tokens is None else context_tokens - longest
    if room is not None and room < 1:
        raise SettingsError(
            f"rollout.{setting}: the model context of {context_tokens:,} tokens (the rollout server's --max-model-len, "
            "or rollout.context_tokens if it is set) has no room for an image beside prompt, question and completion"
        )
    return ImageSizeCheck(processor.image_processor, room, partial(image_tokens, processor))


def model_context(settings: RunSettings, *known_tokens: int | None) -> int | None:
    """The smallest of `rollout.context_tokens` and what else is known of the model context; None if nothing is."""
    stated = (settings.rollout.context_tokens, *known_tokens)
    return min((tokens for tokens in stated if tokens is not None), default=None)


def text_tokens(processor: Any, settings: RunSettings, needs: Needs = NOTHING) -> int:
    """The most tokens that a prompt without its image and a completion can have together.

    The longest question is as long as the longest completion of the Proposer.
    """
    return _longest_text(processor, settings, needs)[0]


def _longest_text(processor: Any, settings: RunSettings, needs: Needs) -> tuple[int, str]:
    """The tokens of the longest text, and the setting that bounds its completion."""
    rollout = settings.rollout
    proposed, solved = rollout.proposer_max_tokens, rollout.solver_max_tokens
    texts = [
        (solver_messages(""), proposed + solved, "solver_max_tokens"),
        (proposer_messages(), proposed, "proposer_max_tokens"),
    ]
    if needs.judge:
        judged = proposed + solved + rollout.judge_max_tokens
        texts.append((judge_messages("", ""), judged, "judge_max_tokens"))
    rewords = any(view.rewords for view in named_views(settings.views.names))
    if rewords or settings.reward.voters == "paraphrase":
        texts.append((paraphrase_messages(""), 2 * proposed, "proposer_max_tokens"))
    return max((prompt_tokens(processor, messages) + tokens, setting) for messages, tokens, setting in texts)


def prompt_tokens(processor: Any, messages: list[Message]) -> int:
    """Tokens of a prompt, without the placeholder of its image."""
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return len(processor.tokenizer(text)["input_ids"]) - 1
