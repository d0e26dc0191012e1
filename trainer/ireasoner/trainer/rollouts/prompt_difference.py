"""Why the rollout server's prompt is not the trainer's."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any


def prompt_difference(served: Sequence[int], own: Sequence[int], processor: Any) -> str | None:
    """The cause of a difference between the token ids of one prompt; None if they are equal.

    Args:
        served: The prompt's token ids in the rollout server.
        own: Those in the trainer.
        processor: The trainer's processor.
    """
    image = processor.image_token_id
    served_images, own_images = list(served).count(image), list(own).count(image)
    texts = [[token_id for token_id in ids if token_id != image] for ids in (served, own)]
    if texts[0] == texts[1] and served_images != own_images:
        return (
            f"the image bound differs: the image has {served_images} tokens in the rollout server's prompt and "
            f"{own_images} in the trainer's; give both the same bound on pixels"
        )
    for position, (theirs, ours) in enumerate(zip_longest(served, own)):
        if theirs != ours:
            return (
                f"the chat template or the tokenizer differs: token {position} of the prompt (from 0) is "
                f"{_shown(theirs, processor)} in the rollout server ({len(served)} tokens) and "
                f"{_shown(ours, processor)} in the trainer ({len(own)} tokens); do both load the same model?"
            )
    return None


def _shown(token_id: int | None, processor: Any) -> str:
    return "missing" if token_id is None else f"{token_id} ({processor.tokenizer.decode([token_id])!r})"
