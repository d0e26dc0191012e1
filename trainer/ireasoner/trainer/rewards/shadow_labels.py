"""Shadow labels: the accuracy of pseudo-labels and rewards on questions whose true answer is known.

They are compared with groups whose rewards are final, for the logs. The reward server gets them for its ledger, where
people see them; no reward depends on them, and nothing here reaches a policy.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ireasoner.trainer.errors import SettingsError, UnreadableImageError
from ireasoner.trainer.evaluation.questions import Question, read_questions
from ireasoner.trainer.rewards.named_function import named_function
from ireasoner.trainer.rollouts.group import MIN_SPREAD, Group

_KNOWN_LABELS = 4096

Labels = Callable[[Path, str], Question | None]
"""Returns the labelled question for an image and a proposed question, or None if the true answer is not known."""


class ShadowLabels:
    """Compares the Solver's groups with true answers.

    Args:
        labels: The source of true answers; None measures nothing.
    """

    def __init__(self, labels: Labels | None) -> None:
        self._labels = None if labels is None else lru_cache(_KNOWN_LABELS)(labels)  # asked for twice

    def answers(self, image: Path, question: str) -> list[str] | None:
        """The true answers to a question about an image; None if they are not known."""
        label = None if self._labels is None else self._labels(image, question)
        return None if label is None else label.spellings

    def measure(
        self, groups: Sequence[Group], rewards: Sequence[Sequence[float | None]]
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Returns an entry of `groups.jsonl` per group, and the metrics of the update; see docs/training.md.

        Args:
            groups: The groups of a Solver update, with their records.
            rewards: One reward per rollout, None if it has none.
        """
        if self._labels is None:
            return [{} for _ in groups], {}
        records: list[dict[str, Any]] = []
        aucs: list[float] = []
        for group, group_rewards in zip(groups, rewards, strict=True):
            label = self._labels(group.path, group.asked)
            if label is None:
                records.append({})
                continue
            answers = [rollout["answer"] for rollout in group.record["rollouts"]]
            right = [answer is not None and label.is_right(answer) for answer in answers]
            auc = reward_auc(group_rewards, right)
            if auc is not None:
                aucs.append(auc)
            records.append(
                {
                    "shadow": {
                        "truth": label.answer,
                        "pseudo_label_right": _is_pseudo_label_right(group, label),
                        "right": right,
                        "reward_auc": auc,
                    }
                }
            )
        return records, _figures(records, aucs)


def _is_pseudo_label_right(group: Group, label: Question) -> bool | None:
    """Whether the label that pays is right; None where one group has several, one per view."""
    if group.has_several_labels:
        return None
    dominant = (
        group.record["voters"]["dominant_answer"]
        if "voters" in group.record
        else group.record["dominant_answer"]
    )
    return dominant is not None and label.is_right(dominant)


def reward_auc(rewards: Sequence[float | None], right: Sequence[bool]) -> float | None:
    """The probability that a right rollout of a group has a higher reward than a wrong one; equal rewards count half.

    This is the area under the ROC curve, as the Mann-Whitney statistic: 1 ranks every right rollout above every wrong
    one, 0.5 is chance. Rewards closer than 1e-6 count as equal. None if the group lacks right or wrong rollouts.
    """
    pairs = [(reward, hit) for reward, hit in zip(rewards, right, strict=True) if reward is not None]
    hits = np.array([reward for reward, hit in pairs if hit])
    misses = np.array([reward for reward, hit in pairs if not hit])
    if not hits.size or not misses.size:
        return None
    gaps = hits[:, None] - misses[None, :]
    return float(np.mean((gaps > MIN_SPREAD) + 0.5 * (np.abs(gaps) <= MIN_SPREAD)))


def load_labels(source: str | None) -> Labels | None:
    """Loads the labels of the setting: a JSON-lines file of questions, or `module:function`.

    The function takes the image's path and the question, and returns the true answer as a string, or None.

    Raises:
        SettingsError: There is no such file and no such function.
        ImagesError: The file has a bad line.
    """
    if source is None:
        return None
    if Path(source).is_file():
        return from_questions(read_questions(Path(source)))
    try:
        program = named_function(source)
    except SettingsError as error:
        raise SettingsError(
            f"labels: {source} is not a file and not module:function: {error.__cause__}"
        ) from error

    def labelled(image: Path, text: str) -> Question | None:
        try:
            answer = program(image, text)
        except UnreadableImageError:  # it was removed after its group was made
            return None
        return None if answer is None else Question(image, text, answer)

    return labelled


def from_questions(questions: Sequence[Question]) -> Labels:
    """Labels of a dataset: each applies to its own question, word for word, about its own image."""
    known = {(question.image.resolve(), _folded(question.text)): question for question in questions}
    return lambda image, text: known.get((image.resolve(), _folded(text)))


def _figures(records: Sequence[dict[str, Any]], aucs: Sequence[float]) -> dict[str, float]:
    known = [record["shadow"] for record in records if record]
    figures = {"shadow/labelled_share": len(known) / len(records)} if records else {}
    if known:
        paying = [one["pseudo_label_right"] for one in known if one["pseudo_label_right"] is not None]
        if paying:
            figures["shadow/pseudo_label_accuracy"] = float(np.mean(paying))
        figures["shadow/rollout_accuracy"] = float(np.mean([np.mean(one["right"]) for one in known]))
        figures["shadow/pass_at_n"] = float(np.mean([any(one["right"]) for one in known]))
    if aucs:
        figures["shadow/reward_auc"] = float(np.mean(aucs))
    return figures


def _folded(text: str) -> str:
    return " ".join(text.split())
