"""The presets of other label-free methods against values worked out by hand, over HTTP."""

import math
from typing import Any

import httpx
import pytest

from tests.reward_server.methods import METHODS, signalled, statuses, voting
from tests.reward_server.requests import Json, rewards, rollout, score

NO_LABEL = "no single answer has the most votes and at least two"
LOW, NONE = 1 / 3, None


def scored(http: httpx.Client, config: object, *groups: Json, endpoint: str = "outcome") -> Json:
    """The first group's scores."""
    answer: Json = score(http, endpoint, *groups, config=config)["groups"][0]
    return answer


def near(values: list[Any]) -> list[Any]:
    return [None if value is None else pytest.approx(value, abs=5e-5) for value in values]


@pytest.mark.parametrize(
    ("preset", "answers", "expected"),
    [
        # 7 has three votes of five.
        ("ttrl", [7, 7, 9, 4, 7], [1, 1, 0, 0, 1]),
        ("ttrl-strict", [7, 7, 9, 4, 7], [1, 1, 0, 0, 1]),
        ("empo", [7, 7, 9, 4, 7], [0.6, 0.6, 0.2, 0.2, 0.6]),
        # 7 and 9 are tied: half each, in whichever order. The authors' code pays the one that came first.
        ("ttrl", [9, 7, 7, 9, 4], [0.5, 0.5, 0.5, 0.5, 0]),
        ("ttrl", [7, 9, 9, 7, 4], [0.5, 0.5, 0.5, 0.5, 0]),
        ("ttrl-strict", [9, 7, 7, 9, 4], [NONE] * 5),
        ("empo", [9, 7, 7, 9, 4], [0.4, 0.4, 0.4, 0.4, 0.2]),
        # All different.
        ("ttrl", [1, 2, 3, 4, 5], [0.2] * 5),
        ("ttrl-strict", [1, 2, 3, 4, 5], [NONE] * 5),
        ("empo", [1, 2, 3, 4, 5], [0.2] * 5),
        # One rollout, and two.
        ("ttrl", [7], [1]),
        ("ttrl-strict", [7], [NONE]),
        ("empo", [7], [1]),
        ("ttrl", [7, 7], [1, 1]),
        ("ttrl-strict", [7, 7], [1, 1]),
        ("ttrl", [7, 8], [0.5, 0.5]),
        ("ttrl-strict", [7, 8], [NONE, NONE]),
        # Rollouts without an answer neither vote nor win, but count in N. In the authors' codes they do.
        ("ttrl", [None, None, 7], [0, 0, 1]),
        ("ttrl", [7, 7, None, 9, None], [1, 1, 0, 0, 0]),
        ("ttrl-strict", [None, None, 7], [0, 0, NONE]),
        ("empo", [7, 7, None, 9, None], [0.4, 0.4, 0, 0.2, 0]),
        ("empo", [None, None], [0, 0]),
        ("ttrl", [None], [0]),
        # By value.
        ("ttrl", ["1/2", "0.5", "50%"], [1, 1, 0]),
        ("empo", ["seven", "7", "8", "7.0"], [0.75, 0.75, 0.25, 0.75]),
    ],
)
@pytest.mark.parametrize("endpoint", ["outcome", "solver"])
def test_votes(
    compass_http: httpx.Client, endpoint: str, preset: str, answers: list[Any], expected: list[Any]
) -> None:
    group = scored(compass_http, preset, voting(answers), endpoint=endpoint)
    assert rewards(group) == rewards(group, "outcome") == near(expected)
    for each, answer, reward in zip(group["rollouts"], answers, expected, strict=True):
        status = "invalid" if answer is None else "abstain" if reward is None else "ok"
        assert each["status"] == status
        if status == "abstain":
            assert each["reason"] == NO_LABEL


@pytest.mark.parametrize(
    ("bounds", "answers", "is_paid"),
    [
        # H / ln N is 0.950 / 1.609 = 0.590 for 3-1-1, 0 for unanimous, and 1 for all different, whatever rounding does.
        ({"entropy_low": 0.01, "entropy_high": 0.99}, [7, 7, 9, 4, 7], True),
        ({"entropy_low": 0.01, "entropy_high": 0.58}, [7, 7, 9, 4, 7], False),
        ({"entropy_low": 0.60}, [7, 7, 9, 4, 7], False),
        ({"entropy_low": 0.01}, [7] * 5, False),
        ({"entropy_low": 0.0}, [7] * 5, True),
        ({"entropy_low": 0.01}, [7], False),
        ({"entropy_high": 0.5}, [7], True),
        *(({"entropy_high": 0.999}, list(range(1, n + 1)), False) for n in (2, 3, 5, 6, 7, 10, 14)),
        *(({"entropy_low": 0.999}, list(range(1, n + 1)), True) for n in (2, 3, 5, 6, 7, 10, 14)),
        *(({"entropy_high": 1.0, "entropy_low": 1.0}, list(range(1, n + 1)), True) for n in (2, 3, 7, 10)),
    ],
)
def test_the_entropy_window_of_empo(
    compass_http: httpx.Client, bounds: Json, answers: list[int], is_paid: bool
) -> None:
    group = scored(compass_http, {"preset": "empo", **bounds}, voting(answers))
    assert statuses(group) == (["ok"] if is_paid else ["abstain"]) * len(answers)
    if not is_paid:
        assert group["rollouts"][0]["reason"] == "the entropy of the votes is outside of the config's bounds"


# V = 4, two tokens with p = (.7, .1, .1, .1) and (.97, .01, .01, .01): KL(U, p) is 0.4298 and 2.0752, H is 0.9404 and
# 0.1677. The means are 1.2525 and 0.55405.
@pytest.mark.parametrize(
    ("preset", "name", "values", "expected"),
    [
        ("self-certainty", "self_certainty", [1.2525, 0.0, 12.0], [1.2525, 0.0, 12.0]),
        ("entropy-minimisation", "mean_token_entropy", [0.55405, 0.0, 3.0], [-0.55405, 0.0, -3.0]),
        ("sequence-probability", "sum_logprob", [-90, -92, -100], [1.0, 0.1353, 4.54e-5]),
        # p = .5, .2, .1
        (
            "sequence-probability",
            "sum_logprob",
            [math.log(0.5), math.log(0.2), math.log(0.1)],
            [1.0, 0.4, 0.2],
        ),
        # below the smallest double, and so far apart that one ratio is
        ("sequence-probability", "sum_logprob", [-2000, -2000.6931, -4000], [1.0, 0.5, 0.0]),
        ("sequence-probability", "sum_logprob", [-5, -5], [1.0, 1.0]),
        ("sequence-probability", "sum_logprob", [-5, None, -6], [1.0, NONE, 0.3679]),
        ("self-certainty", "self_certainty", [1.0, None], [1.0, NONE]),
        ("entropy-minimisation", "mean_token_entropy", [None, None], [NONE, NONE]),
    ],
)
@pytest.mark.parametrize("endpoint", ["outcome", "solver"])
def test_signals(
    compass_http: httpx.Client,
    endpoint: str,
    preset: str,
    name: str,
    values: list[float | None],
    expected: list[Any],
) -> None:
    group = scored(compass_http, preset, signalled(name, values), endpoint=endpoint)
    assert rewards(group) == rewards(group, "outcome") == near(expected)
    for each, value in zip(group["rollouts"], values, strict=True):
        if value is None:
            assert (each["status"], each["reason"]) == ("abstain", f"the signal {name!r} is missing")
            assert "components" not in each
        else:
            assert each["status"] == "ok"
            assert each["components"] == {name: value}


def test_a_ratio_needs_another_rollout_with_the_signal(compass_http: httpx.Client) -> None:
    group = scored(compass_http, "sequence-probability", signalled("sum_logprob", [-3.0, None]))
    assert [each["reason"] for each in group["rollouts"]] == [
        "no other rollout has the signal 'sum_logprob'",
        "the signal 'sum_logprob' is missing",
    ]


def test_a_signal_is_paid_whatever_the_answer(compass_http: httpx.Client) -> None:
    """The published methods read no answer; a reward of 0 would be the best under entropy minimisation."""
    sent = signalled("mean_token_entropy", [0.5, 0.25], [7, None])
    group = scored(compass_http, "entropy-minimisation", sent)
    assert (rewards(group), statuses(group)) == ([-0.5, -0.25], ["ok", "ok"])
    assert [each["answer"] for each in group["rollouts"]] == ["7", None]
    assert group["rollouts"][1]["reason"] is None


SCORES = [1, 0.7, 0.4, 0.7, 0.2, 1, 0.7, 0]
EIGHT = [7, 7, 7, 7, 7, 9, 9, 4]


def judged(answers: list[Any], scores: list[Any], unformed: int | None = None) -> Json:
    group = voting(answers, signals=[None if each is None else {"judge": each} for each in scores])
    if unformed is not None:
        group["rollouts"][unformed]["text"] = f"<answer>{answers[unformed]}</answer>"
    return group


@pytest.mark.parametrize(
    ("answers", "scores", "unformed", "expected"),
    [
        # b = .625, .25, .125; g(1) = 1.1848, g(.7) = .9995, g(.4) = .9, g(.2) = .8036, g(0) = .8001
        (EIGHT, SCORES, 3, [0.7405, 0.6247, 0.5625, 0.1247, 0.5022, 0.2962, 0.2499, 0.1000]),
        # 7 of 8 is .875 > .85: hard. A high score cannot lift above 1.
        ([7] * 7 + [9], [1, 0.4, *[0.5] * 6], None, [1, 0.9, *[0.9762] * 5, 0]),
        # 5 of 6 is .833: the share.
        ([7] * 5 + [9], [0.95] * 6, None, [*[0.8333 * 1.1] * 5, 0.1667 * 1.1]),
        ([7], [0.9], None, [1.0]),
        # The format takes .5, and no reward is below 0.
        ([7, 9], [0.5, 0.5], 1, [0.4881, 0]),
        ([7, 7], [0, 0.5], 0, [0.3001, 0.9762]),
        ([7, None, 7], [0.5, None, None], None, [0.6508, 0, NONE]),
    ],
)
@pytest.mark.parametrize("endpoint", ["outcome", "solver"])
def test_the_bounded_judge(
    compass_http: httpx.Client,
    endpoint: str,
    answers: list[Any],
    scores: list[Any],
    unformed: int | None,
    expected: list[Any],
) -> None:
    group = scored(compass_http, "judge-bounded", judged(answers, scores, unformed), endpoint=endpoint)
    assert rewards(group) == near(expected)


@pytest.mark.parametrize(
    ("score_sent", "reason"),
    [
        (None, "the signal 'judge' is missing"),
        (1.01, "the signal 'judge' is 1.01, not 0 to 1"),
        (-0.5, "the signal 'judge' is -0.5, not 0 to 1"),
        (7, "the signal 'judge' is 7, not 0 to 1"),
    ],
)
def test_a_judge_without_a_usable_score_abstains(
    compass_http: httpx.Client, score_sent: float | None, reason: str
) -> None:
    group = scored(compass_http, "judge-bounded", judged([7, 7], [score_sent, 0.5]))
    assert (statuses(group), group["rollouts"][0]["reason"]) == (["abstain", "ok"], reason)


@pytest.mark.parametrize(
    ("text", "penalty"),
    [
        (rollout("7", "east"), 0),
        ("I add.</think> So <answer>7</answer>", 0),  # the opening tag is in the prompt
        ("<THINK>I add.</THINK>\n<answer>7</answer> Done.", 0),
        ("<answer>7</answer>", 0.25),
        ("I add. <answer>7</answer>", 0.25),
        ("<think>I add. <answer>7</answer>", 0.25),
        ("<think>I add. <answer>7</answer></think>", 0.25),
        ("<answer>7</answer><think>I add.</think>", 0.25),
    ],
)
def test_the_format_penalty(compass_http: httpx.Client, text: str, penalty: float) -> None:
    group = {"id": "g", "rollouts": [{"id": "0", "text": text}, {"id": "1", "answer": "7"}]}
    found = scored(compass_http, {"format_penalty": 0.25, "eta": 0.0}, group)
    assert rewards(found) == [1 - penalty, 1], "a parsed rollout has no format"
    assert found["rollouts"][0]["components"] == {"consensus": 1, "format": penalty}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([7] * 5, 0.0),
        ([7] * 4 + [8], 0.4),
        ([7] * 3 + [8, 8], 0.8),
        ([7, 7, 8, 8, 9], 0.8),
        ([1, 2, 3, 4, 5], 0.4),
        ([7, 8], 1.0),
        ([7, 7, None, None], 1.0),
        ([None], 0.0),
    ],
)
def test_the_proposer_is_paid_for_a_share_near_one_half(
    compass_http: httpx.Client, answers: list[Any], expected: float
) -> None:
    group = scored(compass_http, {"proposer": "midpoint"}, voting(answers), endpoint="proposer")
    assert group["proposer_reward"] == pytest.approx(expected)


@pytest.mark.parametrize("preset", METHODS)
def test_methods_have_no_step_part(compass_http: httpx.Client, preset: str) -> None:
    """Outcome and solver pay the same, whatever the progress."""
    signals = {"self_certainty": 1.5, "mean_token_entropy": 0.5, "sum_logprob": -3.0, "judge": 0.4}
    texts = [rollout("7", "east"), rollout("7", "north"), rollout("8", "east"), rollout(None)]
    groups: list[Json] = [
        {
            "id": name,
            "voters": other,
            "rollouts": [
                {"id": str(i), "text": text, "view": f"v{i % 2}", "signals": {**signals, "sum_logprob": -i}}
                for i, text in enumerate(texts)
            ],
        }
        for name, other in (("a", "b"), ("b", "a"))
    ]
    outcome = score(compass_http, "outcome", *groups, config=preset)
    assert any(reward is not None for reward in rewards(outcome["groups"][0]))
    for progress in (0.0, 0.5, 1.0):
        solver = score(compass_http, "solver", *groups, config=preset, progress=progress)
        for one, other in zip(outcome["groups"], solver["groups"], strict=True):
            assert rewards(one) == rewards(other)
            assert statuses(one) == statuses(other)


def test_the_components_of_every_part(compass_http: httpx.Client) -> None:
    group = voting([7, 7, 8], signals=[{"judge": 0.4}] * 3)
    config = {"alpha": 1.0, "judge": "bounded", "format_penalty": 0.5, "eta": 0.5, "tau_words": 1.0}
    found = scored(compass_http, config, group, endpoint="solver")["rollouts"][0]
    assert found["components"] == {
        "consensus": pytest.approx(2 / 3),
        "length": 1.0,
        "judge": pytest.approx(0.9),
        "format": 0.0,
    }
    assert found["outcome"] == pytest.approx(0.6)
    assert "components" not in scored(compass_http, config, group, endpoint="trajectory")["rollouts"][0]
