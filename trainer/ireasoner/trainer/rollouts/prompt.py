"""A prompt of a group: what some of its rollouts are sampled from, and trained on."""

from dataclasses import dataclass

from PIL import Image

from ireasoner.trainer.rollouts.prompts import Message
from ireasoner.trainer.rollouts.rollout import RolloutRequest


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages and an image.

    Attributes:
        messages: The messages.
        picture: The image, RGB.
        png: Its bytes, as the rollout server gets them.
        count: Rollouts of the prompt.
        view: Name of the view of the question that it shows; None in a group without views.
        question: The question that it asks; None if it asks for one.
    """

    messages: list[Message]
    picture: Image.Image
    png: bytes
    count: int
    view: str | None = None
    question: str | None = None

    def request(self, seed: int) -> RolloutRequest:
        """The prompt's rollouts; the first one has this seed, and each further one the next."""
        return RolloutRequest(self.messages, self.png, self.count, seed)
