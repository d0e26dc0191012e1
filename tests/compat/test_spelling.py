"""The word that was probably meant."""

import pytest

from ireasoner.compat.spelling import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("confg", ["config", "control"], "; did you mean config?"),
        ("papr", ["paper", "robust"], "; did you mean paper?"),
        ("lossType", ["loss_type", "log_level"], "; did you mean loss_type?"),
        ("zebra", ["paper", "robust"], ""),
        ("x", [], ""),
        ("paper" * 21, ["paper" * 21], ""),
    ],
)
def test_the_nearest_word_is_suggested(word: str, known: list[str], meant: str) -> None:
    assert did_you_mean(word, known) == meant
