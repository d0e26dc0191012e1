"""The staleness of each rollout is logged, and bounded."""

from pathlib import Path

import pytest

from ireasoner.trainer.errors import StaleRolloutError
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import Role
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer

SPREAD = (1, 2, 4, 9)


def test_rollouts_of_the_newest_version_are_not_stale(tmp_path: Path) -> None:
    settings = offline_settings(tmp_path, updates=2)
    offline_trainer(settings, OfflineRollouts(answers(SPREAD))).go()
    groups = list(read_lines(settings.run_folder / "groups.jsonl"))
    assert [rollout["staleness"] for group in groups for rollout in group["rollouts"]] == [0] * 8
    lines = list(read_lines(settings.run_folder / "metrics.jsonl"))
    assert [line["solver/staleness/max"] for line in lines] == [0, 0]


@pytest.mark.parametrize("overlap", [False, True])
def test_rollouts_that_are_too_far_behind_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    """A publisher that stops: update 2 samples from version 0, one version behind, and update 3 two behind."""
    allowed = int(overlap)
    publish = ProposerSolverTrainer.publish

    def once(self: ProposerSolverTrainer, role: Role) -> None:
        if self.versions[role] == 0:
            publish(self, role)

    monkeypatch.setattr(ProposerSolverTrainer, "publish", once)
    settings = offline_settings(tmp_path, updates=4, overlap=overlap)
    trainer = offline_trainer(settings, OfflineRollouts(answers(SPREAD)))
    with pytest.raises(StaleRolloutError, match=rf"are {allowed + 1} versions behind .* is {allowed}$"):
        trainer.go()
    groups = list(read_lines(settings.run_folder / "groups.jsonl"))
    assert [group["rollouts"][0]["staleness"] for group in groups] == list(range(allowed + 1))
