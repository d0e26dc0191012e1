"""The questions in the Proposer's completions."""

from typing import Any

from ireasoner.trainer.errors import ProposerError
from ireasoner.trainer.rollouts.control_tokens import control_tokens_in
from ireasoner.trainer.rollouts.prompts import parse_question
from ireasoner.trainer.rollouts.rollout import Rollout


class Proposals:
    """Finds questions, and counts proposals that hold none.

    Args:
        tokenizer: The policy's tokenizer.
        max_consecutive_failed: More consecutive proposals without a question than this are an error.
    """

    def __init__(self, tokenizer: Any, max_consecutive_failed: int) -> None:
        self._tokenizer = tokenizer
        self._max_consecutive_failed = max_consecutive_failed
        self._consecutive_failed = 0

    def question(self, proposal: Rollout) -> str | None:
        """The question in a proposal; None if there is none, or if its control tokens would alter the prompt."""
        question = parse_question(proposal.text)
        if question is not None and control_tokens_in(question, self._tokenizer):
            return None
        return question

    def count(self, update: int, question: str | None, proposal: Rollout) -> None:
        """Counts a proposal of the Solver's questions.

        Raises:
            ProposerError: Too many consecutive ones hold no question.
        """
        self._consecutive_failed = 0 if question is not None else self._consecutive_failed + 1
        if self._consecutive_failed > self._max_consecutive_failed:
            raise ProposerError(
                f"update {update + 1}: {self._consecutive_failed} consecutive proposals hold no question "
                f"(rollout.max_consecutive_failed_proposals); the last one is {proposal.text[:200]!r}"
            )
