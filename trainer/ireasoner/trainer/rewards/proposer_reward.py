"""What a proposal is paid: the uncertainty of its answers, less a penalty for questions that the update repeats."""

from collections.abc import Sequence

from ireasoner.audit.questions import alike_shares
from ireasoner.clients import ScoredGroup
from ireasoner.trainer.settings import RewardSettings

_NO_QUESTION = {"scored": 0.0, "minority_share": -1.0}


def proposal_rewards(
    questions: Sequence[str | None], scores: Sequence[ScoredGroup | None], settings: RewardSettings
) -> list[float | None]:
    """The rewards of all proposals of an update.

    With penalty weight w, and s the share of the update's proposals that are in the question's cluster of alike ones:

        scored          max(0, r - w s) for the reward server's reward r; 0 without a question
        minority_share  min(p, 1 - p) - w s for a dominant share p; -1 without a question

    R-Zero's paper (arXiv 2508.05004) is `scored` with the scoring config's `proposer = "midpoint"` and w = 1. Its code
    and VisPlay's (arXiv 2511.15661) are `minority_share` with w = 1: half of that uncertainty, so the penalty weighs
    double, and there is no floor. Without a question their code pays -1 - 1/B, for B proposals.

    Args:
        questions: The question of each proposal, None without one.
        scores: The Solver's answers to each question, scored for the Proposer; None without a question.
        settings: The formula and the weight.

    Returns:
        One reward per proposal; None if its answers could not be judged.
    """
    shares = alike_shares(questions)
    return [
        _NO_QUESTION[settings.proposer] if score is None else _reward(score, share, settings)
        for score, share in zip(scores, shares, strict=True)
    ]


def _reward(score: ScoredGroup, share: float, settings: RewardSettings) -> float | None:
    if score.proposer_reward is None:
        return None
    penalty = settings.repetition_penalty * share
    if settings.proposer == "minority_share":
        return min(score.dominant_share, 1 - score.dominant_share) - penalty
    return max(0.0, score.proposer_reward - penalty)
