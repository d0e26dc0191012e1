"""The shares of an update's time: what is timed before training is never counted as training."""

import pytest

from ireasoner.trainer.monitoring.time_shares import before_training, time_shares

STEP_S = 10.0


@pytest.mark.parametrize("phase", before_training(overlap=False))
def test_a_phase_before_training_is_not_training(phase: str) -> None:
    shares = time_shares({"step_time": [STEP_S], f"seconds/{phase}": [6.0]})
    assert shares[f"time_share/{phase}"] == pytest.approx(0.6)
    assert shares["time_share/train"] == pytest.approx(0.4)
    assert sum(shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("phase", ["paraphrase", "measure"])
def test_a_phase_that_few_runs_have_is_absent_where_it_was_not_timed(phase: str) -> None:
    without = time_shares({"step_time": [STEP_S], "seconds/roll_out": [1.0]})
    assert f"time_share/{phase}" not in without
    assert set(without) == {
        f"time_share/{name}" for name in ("propose", "roll_out", "score", "train", "publish")
    }


def test_with_overlap_the_step_only_waits() -> None:
    """The groups' own seconds pass while another update is trained."""
    metrics = {"step_time": [STEP_S], "seconds/wait": [2.0], "seconds/paraphrase": [6.0]}
    shares = time_shares(metrics, overlap=True)
    assert shares == {
        "time_share/wait": pytest.approx(0.2),
        "time_share/train": pytest.approx(0.8),
        "time_share/publish": 0.0,
    }


def test_an_update_that_was_not_timed_has_no_shares() -> None:
    assert time_shares({"seconds/roll_out": [1.0]}) == {}
