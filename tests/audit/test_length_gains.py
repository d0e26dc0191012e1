"""Which rollouts gain by length or step count alone."""

import pytest

from ireasoner.audit import length_gains
from ireasoner.audit.group import AuditedRollout
from ireasoner.audit.length_gains import length_gain_share
from tests.audit.groups import group, rollout

LONG = rollout("a b c", "d e f", reward=0.4)


@pytest.mark.parametrize(
    ("rollouts", "share"),
    [
        ([], None),
        ([LONG], 0.0),
        ([LONG, LONG], 0.0),
        ([rollout("a b c", reward=0.6), LONG], 0.5),  # half the steps, no better agreement, more reward
        ([rollout("a b c", reward=0.6, cosines=(0.99,)), LONG], 0.0),  # its step agrees better
        ([rollout("a b c", reward=0.6, cosines=(0.5,)), LONG], 0.5),
        ([rollout("a b c", "d e f", reward=0.6, words=2), LONG], 0.5),  # fewer words alone
        ([rollout("a b c", "d e g", reward=0.6), LONG], 0.0),  # as long: its reward has another reason
        ([rollout("a b c", reward=0.6, answer="8"), LONG], 0.0),  # another answer has another share
        ([rollout("a b c", reward=None), LONG], 0.0),
        ([rollout("a b c", reward=0.4 + 1e-9), LONG], 0.0),
        ([rollout(reward=0.6, answer=None), rollout(reward=0.4, answer=None, words=9)], None),
        ([rollout("a", cosines=(None,), reward=0.6), rollout("a b", cosines=(None,), reward=0.4)], 0.5),
        ([rollout("a b c", reward=0.2), LONG], 0.5),  # and the longer one gains by its length
    ],
)
def test_the_share_of_gains(rollouts: list[AuditedRollout], share: float | None) -> None:
    assert length_gain_share([group("a?", *rollouts)]) == share


def test_the_work_in_a_group_is_bounded() -> None:
    first = [LONG] * length_gains.MAX_ROLLOUTS
    assert length_gain_share([group("a?", *first, *[rollout("a b c", reward=0.6)] * 9)]) == 0.0
