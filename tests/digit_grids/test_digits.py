"""The three parts of the digits."""

from itertools import combinations
from typing import get_args

import numpy as np
from sklearn.datasets import load_digits

from ireasoner.trainer.worlds.digit_grids.digits import PARTS, Part, load_digits_part


def test_every_digit_image_is_in_exactly_one_part() -> None:
    parts = [load_digits_part(part) for part in get_args(Part)]
    assert sorted(np.concatenate([part.index for part in parts]).tolist()) == list(range(1797))


def test_no_two_parts_share_a_picture() -> None:
    pictures = [{ink.tobytes() for ink in load_digits_part(part).ink} for part in get_args(Part)]
    for one, other in combinations(pictures, 2):
        assert not one & other


def test_ink_and_label_belong_to_the_index() -> None:
    original = load_digits()
    for part in get_args(Part):
        digits = load_digits_part(part)
        assert np.array_equal(digits.ink, original.images[digits.index])
        assert np.array_equal(digits.label, original.target[digits.index])


def test_every_class_is_split_in_the_same_shares() -> None:
    for part, share in PARTS.items():
        counts = np.bincount(load_digits_part(part).label, minlength=10)
        whole = np.bincount(load_digits().target, minlength=10)
        assert np.abs(counts - share * whole).max() <= 1
