"""Laws of the methods of wire 2.2: ranges, order of rollouts, copies of a group."""

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.reward_server.methods import METHODS, statuses
from tests.reward_server.requests import Json, rewards, rollout, score

ANSWERS = st.sampled_from(["7", "8", "9", "7.0", None])
SIGNALS = ("self_certainty", "mean_token_entropy", "sum_logprob", "judge")
ROLLOUTS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.builds(lambda answer: rollout(answer, "east"), ANSWERS),
            "signals": st.fixed_dictionaries({}, optional={name: st.floats(0, 1) for name in SIGNALS}),
        },
        optional={"view": st.sampled_from("ab"), "rewarded": st.booleans()},
    ),
    min_size=1,
    max_size=7,
)
PRESETS = st.sampled_from(METHODS)
few = settings(max_examples=examples(40), deadline=None)


def pair(rollouts: list[Json]) -> list[Json]:
    """Two groups of these rollouts that judge each other."""
    numbered = [{"id": str(index), **each} for index, each in enumerate(rollouts)]
    return [{"id": name, "voters": other, "rollouts": numbered} for name, other in (("a", "b"), ("b", "a"))]


def results(http: httpx.Client, preset: str, groups: list[Json]) -> list[tuple[float | None, str]]:
    """Reward and status of each rollout of the first group."""
    group = score(http, "outcome", *groups, config=preset)["groups"][0]
    return list(zip(rewards(group), statuses(group), strict=True))


@few
@given(rollouts=ROLLOUTS, preset=PRESETS)
def test_ranges_and_statuses(compass_http: httpx.Client, rollouts: list[Json], preset: str) -> None:
    for sent, (reward, status) in zip(rollouts, results(compass_http, preset, pair(rollouts)), strict=True):
        if not sent.get("rewarded", True):
            assert reward is None
            assert status in ("ok", "invalid")
        elif status == "abstain":
            assert reward is None
        else:
            assert reward is not None
            assert -1 <= reward <= 0 if preset == "entropy-minimisation" else 0 <= reward <= 1


@few
@given(rollouts=ROLLOUTS, preset=PRESETS, data=st.data())
def test_the_order_of_rollouts_does_not_matter(
    compass_http: httpx.Client, rollouts: list[Json], preset: str, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(rollouts))))
    plain = results(compass_http, preset, pair(rollouts))
    shuffled = results(compass_http, preset, pair([rollouts[index] for index in order]))
    assert shuffled == [plain[index] for index in order]


@few
@given(rollouts=ROLLOUTS, preset=st.sampled_from([each for each in METHODS if each != "ttrl-strict"]))
def test_a_group_given_twice_over_has_the_same_rewards(
    compass_http: httpx.Client, rollouts: list[Json], preset: str
) -> None:
    """Except that a ratio needs two signals, and a unique mode two votes."""
    once = results(compass_http, preset, pair(rollouts))
    twice = results(compass_http, preset, pair(rollouts * 2))
    if preset == "sequence-probability" and sum("sum_logprob" in each["signals"] for each in rollouts) < 2:
        return
    for (one, status), (other, status_twice) in zip(once * 2, twice, strict=True):
        assert status == status_twice
        assert one == other or one == pytest.approx(other, abs=1e-12)


@few
@given(rollouts=ROLLOUTS, preset=PRESETS)
def test_unpaid_rollouts_vote_as_paid_ones_do(
    compass_http: httpx.Client, rollouts: list[Json], preset: str
) -> None:
    all_paid = results(compass_http, preset, pair([{**each, "rewarded": True} for each in rollouts]))
    for sent, some, paid in zip(
        rollouts, results(compass_http, preset, pair(rollouts)), all_paid, strict=True
    ):
        if sent.get("rewarded", True):
            assert some == paid
