"""No two rollouts of a run share a seed, in any stream."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.seeds import Seeds, Stream, check_seeds
from ireasoner.trainer.settings import RunSettings


def settings(**fields: Any) -> RunSettings:
    return RunSettings(model="m", images=Path("i"), run_folder=Path("r"), **fields)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_no_two_rollouts_share_a_seed(size: int) -> None:
    """Three updates of 40 groups with every stream, each as large as a group can have it."""
    seeds = Seeds(3, size)
    drawn = [
        seeds.first(update, index, stream) + member
        for update in range(3)
        for stream in Stream
        for index in range(40 * size if stream is Stream.HELPER else 40)
        for member in range(size)
    ]
    assert len(set(drawn)) == len(drawn)


def test_a_contrast_is_no_larger_than_a_group() -> None:
    views = {"contrast": "blank", "contrast_rollouts": 4}
    assert settings(group_size=4, views=views).views.contrast_rollouts == 4
    with pytest.raises(ValidationError, match=r"views\.contrast_rollouts 4 is above group_size 3"):
        settings(group_size=3, views=views)


@pytest.mark.parametrize(
    "fields",
    [
        {"group_size": 8, "groups_per_update": 64},
        {"group_size": 50, "groups_per_update": 1000, "proposer_every": 0},
        {"group_size": 50, "groups_per_update": 1000, "proposer_groups_per_update": 80},
    ],
)
def test_updates_that_have_seeds(fields: dict[str, Any]) -> None:
    check_seeds(settings(**fields))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"group_size": 50, "groups_per_update": 1001, "proposer_every": 0}, "groups_per_update: .* 50,050 "),
        ({"group_size": 50, "groups_per_update": 1000, "proposer_groups_per_update": 81}, "proposer_groups"),
        ({"group_size": 50, "groups_per_update": 81}, "proposer_groups_per_update: .* 202,500 answers"),
    ],
)
def test_updates_that_have_too_few_are_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}"):
        check_seeds(settings(**fields))
