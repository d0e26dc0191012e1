"""Whether the rollout server scales images as the trainer does."""

from typing import Any

from PIL import Image

from ireasoner.trainer.adapters.architecture import prompt_inputs
from ireasoner.trainer.errors import RolloutRequestRefused, SettingsError
from ireasoner.trainer.images import ImageSet, has_pixel_bounds, png_bytes
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import proposer_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract


def check_image_bounds(images: ImageSet, processor: Any, rollouts: RolloutReplicas) -> None:
    """Compares the tokens of a grey picture of the largest and of the smallest image's size.

    Raises:
        SettingsError: A server makes another number of tokens of it than the trainer, or refuses it.
        RolloutServerError: A server was unreachable for longer than the budget.
    """
    by_area = sorted((file.width * file.height, file.width, file.height) for file in images.files)
    start = _advice(processor.image_processor)
    for _, width, height in {by_area[-1], by_area[0]}:
        picture = Image.new("RGB", (width, height), "grey")
        own = prompt_inputs(processor, picture)["input_ids"].shape[1]
        prompt = f"a prompt with an image of {width} x {height} pixels"
        for member in rollouts.members:
            try:
                served = _prompt_tokens(member, picture)
            except RolloutRequestRefused as error:  # without the trainer's bound it may exceed the context
                raise SettingsError(
                    f"rollout.max_pixels: {member.base_url} refuses {prompt}, which has {own:,} tokens in the trainer. "
                    f"{start} ({error})"
                ) from error
            if served != own:
                raise SettingsError(
                    f"rollout.max_pixels: {member.base_url} makes {served:,} tokens of {prompt}, the trainer {own:,}: "
                    f"their image bounds differ. {start}"
                )


def _advice(image_processor: Any) -> str:
    """What makes the server scale images as this processor does."""
    if not has_pixel_bounds(image_processor):
        return "Start the rollout server with the same model and without --mm-processor-kwargs"
    bounds = image_processor.size
    return f"Start the rollout server with --min-pixels {bounds.shortest_edge} --max-pixels {bounds.longest_edge}"


def _prompt_tokens(member: RolloutClient, picture: Image.Image) -> int:
    request = RolloutRequest(proposer_messages(), png_bytes(picture), 1, 0)
    [[rollout]] = member.sample(member.models()[0], [request], SamplingContract(1, temperature=0.0))
    return len(rollout.prompt_token_ids)
