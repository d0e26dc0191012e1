"""What a scoring config needs besides the texts of the Solver's rollouts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rewards.signals import JUDGE, SIGNALS
from ireasoner.trainer.rollouts.token_figures import TOKEN_FIGURES
from ireasoner.trainer.settings import RunSettings


@dataclass(frozen=True, slots=True)
class Needs:
    """What the reward server reads of a Solver's group under a scoring config.

    Attributes:
        signals: Names of the signals; a rollout without one of them abstains.
        voters: Whether the rollouts of another group judge; without one the group abstains.
        views: Whether the views of a question judge each other; with one view the group abstains.
        one_prompt: Whether each view's rollouts are judged by their own votes alone, as a group of one prompt is.
    """

    signals: frozenset[str] = frozenset()
    voters: bool = False
    views: bool = False
    one_prompt: bool = False

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Needs":
        """The needs of a config with these fields; what a server does not know, its configs do not need."""
        if fields.get("outcome") == "signal":
            return cls(frozenset({str(fields["signal"])}))
        judge = {JUDGE} if fields.get("judge", "off") != "off" else set()
        votes = fields.get("votes")
        return cls(frozenset(judge), votes == "voters", votes == "cross", votes == "own")

    @property
    def judge(self) -> bool:
        """Whether each rollout needs the score of a judge."""
        return JUDGE in self.signals

    @property
    def of_policy(self) -> tuple[str, ...]:
        """The signals that the policy's own probabilities give."""
        return tuple(sorted(self.signals & set(SIGNALS)))

    @property
    def figures(self) -> tuple[str, ...]:
        """The signals that need the whole distribution of each token."""
        return tuple(sorted(self.signals & set(TOKEN_FIGURES)))

    def check(self, settings: RunSettings) -> None:
        """Refuses settings that cannot give what is needed.

        Raises:
            SettingsError: The message names the setting.
        """
        reward, views = settings.reward, settings.views.names
        if self.views and len(views) < 2:
            raise SettingsError(
                f"views.names: under reward.config {reward.config} the views of a question judge each other, so it "
                f"needs two views or more, and has {len(views)}"
            )
        if self.one_prompt and len(views) > 1:
            raise SettingsError(
                f"views.names: under reward.config {reward.config} each of the {len(views)} views would only judge "
                'itself: set votes = "pooled" or "cross" in reward.overrides, or name one view'
            )
        if unknown := sorted(self.signals - set(SIGNALS) - {JUDGE}):
            raise SettingsError(
                f"reward.config: {reward.config} pays the signal {unknown[0]!r}, which the trainer does not make; it "
                f"makes {', '.join([*SIGNALS, JUDGE])}"
            )
        if self.voters and reward.voters == "none":
            raise SettingsError(
                f"reward.voters: the config {reward.config} is judged by another group: set it to paraphrase or teacher"
            )
        if not self.voters and reward.voters != "none":
            raise SettingsError(
                f"reward.voters: the config {reward.config} does not use the votes of another group: set it to none, "
                'or votes = "voters" in reward.overrides'
            )


NOTHING = Needs()
