"""A group: an image, the prompts about it, and the rollouts with their rewards."""

from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ireasoner.clients import ScoredGroup
from ireasoner.trainer.images import png_bytes, shown_bytes
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.rollout import Rollout

MIN_SPREAD = 1e-6
"""Rewards of a group that differ by less count as equal: TRL's advantages would be below 0.01."""

_FIGURES = (
    "status",
    "dominant_answer",
    "dominant_share",
    "tie",
    "density",
    "entropy_nats",
    "proposer_reward",
)
"""What `groups.jsonl` has of the score of a Solver's group, besides its rollouts'."""


class Group:
    """The rollouts that are judged together: of one prompt, or of several views of one question.

    Attributes:
        path: The image's file.
        picture: The image, RGB.
        png: The image's bytes, as the rollout server gets them.
        prompts: The prompts: one, or one per view of the question.
        question: The question that the Solver answers; None in a Proposer update, or if the proposal held none: such
            a group is never rolled out.
        proposal: The Proposer's completion; None in a Proposer update.
        proposed_by: The served name of the Proposer that wrote it.
        rollouts: The sampled rollouts, those of a prompt next to each other, in the order of the prompts.
        answers_in_view: The answer that each rollout votes with, where it was mapped back from its view; an empty one
            could not be mapped. None where the answer is the one in the text.
        staleness: Updates by which the adapter that sampled them is behind the one that is trained.
        contrast_prompt: The view that must change the answer, if there is one.
        contrast: Its rollouts, which are not trained.
        contrast_shares: For each rollout, the share of the contrast's that give its answer; None if it has none.
        has_several_labels: Whether its rollouts are paid by labels that may differ, one per view.
        rewards: One reward per rollout, None if it has none.
        record: The group's entry in `groups.jsonl`.
    """

    def __init__(self, path: Path, picture: Image.Image) -> None:
        self.path = path
        self.picture = picture
        self.png = png_bytes(picture)
        self.prompts: list[Prompt] = []
        self.question: str | None = None
        self.proposal: str | None = None
        self.proposed_by: str | None = None
        self.rollouts: list[Rollout] = []
        self.answers_in_view: list[str | None] = []
        self.staleness = 0
        self.contrast_prompt: Prompt | None = None
        self.contrast: list[Rollout] = []
        self.contrast_shares: list[float | None] = []
        self.has_several_labels = False
        self.rewards: list[float | None] = []
        self.record: dict[str, Any] = {}

    def shown(self) -> bytes:
        """The image's bytes for the reward server's ledger; a large one is scaled down."""
        return self._shown

    @cached_property
    def _shown(self) -> bytes:
        return shown_bytes(self.picture, self.png)

    @property
    def asked(self) -> str:
        """The question of a group of the Solver that is rolled out."""
        assert self.question is not None
        return self.question

    @property
    def sampled_prompts(self) -> list[Prompt]:
        """The prompts that are trained on, and the contrast."""
        return [*self.prompts, *([] if self.contrast_prompt is None else [self.contrast_prompt])]

    @property
    def prompt_of_rollout(self) -> list[Prompt]:
        """The prompt of each rollout."""
        return [prompt for prompt in self.prompts for _ in range(prompt.count)]

    @property
    def has_reward(self) -> bool:
        """Whether any rollout has a reward."""
        return any(reward is not None for reward in self.rewards)

    @property
    def has_spread(self) -> bool:
        """Whether rewards differ; if not, every group advantage is 0."""
        known = [reward for reward in self.rewards if reward is not None]
        return bool(known) and max(known) - min(known) > MIN_SPREAD

    def solver_record(self, score: ScoredGroup) -> dict[str, Any]:
        """The entry of a Solver group and its score in `groups.jsonl`."""
        return self.record_without_rollouts() | self._scored_record(score) | self._contrast_record()

    def record_without_rollouts(self) -> dict[str, Any]:
        """The entry of a Solver group that is not rolled out, such as one whose proposal holds no question."""
        return {
            "proposed_by": self.proposed_by,
            "proposal": self.proposal,
            **dict.fromkeys(_FIGURES),
            "views": [],
            "rollouts": [],
        }

    def _contrast_record(self) -> dict[str, Any]:
        """The entry of the contrast; empty without one."""
        if self.contrast_prompt is None:
            return {}
        return {
            "contrast": {
                "view": self.contrast_prompt.view,
                "question": self.contrast_prompt.question,
                "texts": [rollout.text for rollout in self.contrast],
                "shares": self.contrast_shares,
            }
        }

    def _scored_record(self, score: ScoredGroup) -> dict[str, Any]:
        return {
            **{name: getattr(score, name) for name in _FIGURES},
            "views": [
                {"view": prompt.view, "question": prompt.question}
                for prompt in self.prompts
                if prompt.view is not None
            ],
            "rollouts": [
                {
                    "view": prompt.view,
                    "text": sampled.text,
                    "token_ids": sampled.token_ids,
                    "policy": sampled.policy,
                    "seed": sampled.seed,
                    "finish_reason": sampled.finish_reason,
                    "status": scored.status,
                    "reason": scored.reason,
                    "answer": scored.answer,
                    "reward": scored.reward,
                    "outcome": scored.outcome,
                    "trajectory": scored.trajectory,
                    "steps": [{"text": s.text, "cosine": s.cosine, "weight": s.weight} for s in scored.steps],
                }
                for prompt, sampled, scored in zip(
                    self.prompt_of_rollout, self.rollouts, score.rollouts, strict=True
                )
            ],
        }
