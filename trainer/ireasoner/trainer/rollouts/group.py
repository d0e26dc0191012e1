"""A group: an image, a prompt about it, and the rollouts with their rewards."""

from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ireasoner.clients import ScoredGroup
from ireasoner.trainer.images import png_bytes, shown_bytes
from ireasoner.trainer.rollouts.prompts import proposer_messages
from ireasoner.trainer.rollouts.rollout import Rollout

MIN_SPREAD = 1e-6
"""Rewards of a group that differ by less count as equal: TRL's advantages would be below 0.01."""


class Group:
    """One prompt and its rollouts.

    Attributes:
        path: The image's file.
        picture: The image, RGB.
        png: The image's bytes, as the rollout server gets them.
        messages: The prompt; the Proposer's until the group has a question.
        question: The question that the Solver answers; None in a Proposer update, or if the proposal held none.
        proposed_by: The served name of the Proposer that asked it.
        rollouts: The sampled rollouts.
        staleness: Updates by which the adapter that sampled them is behind the one that is trained.
        rewards: One reward per rollout, None if it has none.
        record: The group's entry in `groups.jsonl`.
    """

    def __init__(self, path: Path, picture: Image.Image) -> None:
        self.path = path
        self.picture = picture
        self.png = png_bytes(picture)
        self.messages: list[dict[str, Any]] = proposer_messages()
        self.question: str | None = None
        self.proposed_by: str | None = None
        self.rollouts: list[Rollout] = []
        self.staleness = 0
        self.rewards: list[float | None] = []
        self.record: dict[str, Any] = {}

    def shown(self) -> bytes:
        """The image's bytes for the reward server's ledger; a large one is scaled down."""
        return self._shown

    @cached_property
    def _shown(self) -> bytes:
        return shown_bytes(self.picture, self.png)

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
        return {
            "proposed_by": self.proposed_by,
            "status": score.status,
            "dominant_answer": score.dominant_answer,
            "dominant_share": score.dominant_share,
            "tie": score.tie,
            "density": score.density,
            "entropy_nats": score.entropy_nats,
            "proposer_reward": score.proposer_reward,
            "rollouts": [
                {
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
                for sampled, scored in zip(self.rollouts, score.rollouts, strict=True)
            ],
        }
