"""The images of an update depend on its index, and equal those of TRL's own sampler."""

from itertools import islice
from pathlib import Path

import pytest
from trl.trainer.utils import RepeatSampler

from ireasoner.trainer.loop.image_order import ImageOrder

PATHS = [Path(f"{number}.png") for number in range(7)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_order_is_that_of_trls_sampler_over_epochs(shuffle: bool) -> None:
    sampler = RepeatSampler(PATHS, mini_repeat_count=5, batch_size=3, repeat_count=2, shuffle=shuffle, seed=4)
    rows = [PATHS[number] for _ in range(3) for number in sampler]
    updates = [rows[first : first + 15 : 5] for first in range(0, len(rows), 30)]
    order = ImageOrder(PATHS, 3, 4, shuffle=shuffle)
    assert [order.at(update) for update in range(6)] == updates
    assert len(set(updates[0] + updates[1])) == 6


def test_the_images_of_an_update_do_not_depend_on_the_order_of_calls() -> None:
    order = ImageOrder(PATHS, 2, seed=1)
    forwards = [order.at(update) for update in range(9)]
    assert [order.at(update) for update in reversed(range(9))] == list(islice(reversed(forwards), 9))
    assert ImageOrder(PATHS, 2, seed=1).at(7) == forwards[7]
