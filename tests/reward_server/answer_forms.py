"""Checks of groups of answers by their canonical forms alone, without symbolic comparison."""

from collections.abc import Sequence

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.scoring_config import ROBUST


def keys(answers: Sequence[str]) -> dict[str, str]:
    """The key of each answer within the group of all of them."""
    return {answer: form.key for answer, form in forms_of(answers, ROBUST).items()}


def assert_same(*answers: str) -> None:
    """All of these are one answer."""
    assert len(set(keys(answers).values())) == 1, keys(answers)


def assert_apart(*answers: str) -> None:
    """No two of these are one answer."""
    assert len(set(keys(answers).values())) == len(answers), keys(answers)


def assert_partition(*clusters: Sequence[str]) -> None:
    """As one group, these answers are clustered like this."""
    found = keys([answer for cluster in clusters for answer in cluster])
    assert all(len({found[answer] for answer in cluster}) == 1 for cluster in clusters), found
    assert len(set(found.values())) == len(clusters), found
