"""The gap between sampled and recomputed log-probabilities is logged, and a large one is warned about."""

from pathlib import Path

import pytest

from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("offset_nats", "alarmed"), [(0.0, False), (0.09, False), (0.11, True)])
def test_a_server_with_other_log_probabilities_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, offset_nats: float, alarmed: bool
) -> None:
    settings = offline_settings(tmp_path, rollout={"canary_every": 0})
    offline_trainer(settings, OfflineRollouts(answers((1, 2, 4, 9)), offset_nats)).go()
    [line] = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert line["solver/logprob_gap/mean"] == pytest.approx(offset_nats, abs=1e-3)
    assert ("does the server serve the policy that is trained?" in caplog.text) is alarmed
