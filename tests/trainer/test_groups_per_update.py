"""A Proposer update can have fewer images than a Solver update has questions."""

from pathlib import Path

import pytest

from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from tests.trainer.offline import OfflineRollouts, offline_settings, offline_trainer, reasoning

pytestmark = pytest.mark.timeout(300)


def say(policy: str, request: int, member: int) -> str:
    """Proposals that differ within an image, and different answers to each question."""
    if "proposer" in policy:
        return f"<question>What is the sum of row {1 + (request + member) % 3}?</question>"
    return reasoning(1 + request + member % 2)


def test_the_proposers_update_has_its_own_number_of_images(tmp_path: Path) -> None:
    settings = offline_settings(
        tmp_path, updates=2, proposer_every=1, groups_per_update=3, proposer_groups_per_update=2
    )
    rollouts = OfflineRollouts(say)
    trainer = offline_trainer(settings, rollouts)
    weights = trainer.model.state_dict()
    before = {name: weight.clone() for name, weight in weights.items() if ".proposer." in name}
    trainer.go()
    groups = list(read_lines(settings.run_folder / "groups.jsonl"))
    assert [group["role"] for group in groups] == ["solver"] * 3 + ["proposer"] * 2
    assert [len(group["proposals"]) for group in groups[3:]] == [4, 4]
    asked = [len(requests) for policy, requests in rollouts.calls if "proposer" in policy]
    assert asked == [3, 2], "one question per image; groups of proposals about fewer images"
    last = list(read_lines(settings.run_folder / "metrics.jsonl"))[-1]
    assert 0 < last["proposer/rollouts_trained"] <= 2 * settings.group_size
    assert any(not weights[name].equal(weight) for name, weight in before.items())


def test_a_larger_number_than_groups_per_update_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="proposer_groups_per_update 3 is above groups_per_update 2"):
        RunSettings(
            model="m", images=tmp_path, run_folder=tmp_path, groups_per_update=2, proposer_groups_per_update=3
        )
