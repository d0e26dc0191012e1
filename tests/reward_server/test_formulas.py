"""The paper preset against values worked out by hand, over HTTP, with embeddings that are known by hand.

The group, N = 5, with compass points for steps:

    rollout  answer  position 0  position 1    cos 0                cos 1
    0        7       east        north         2/sqrt(5) = .894427  1
    1        7       north       north         1/sqrt(5) = .447214  1
    2        7       east        -             2/sqrt(5) = .894427  -
    3        8       east        -
    4        none

G = {0, 1, 2}, mu_0 = unit(2 east + north) = (2, 1)/sqrt(5), mu_1 = north; v_0 = 1, v_1 = e^-.15 = .860708;
rho = .6^.7 = .699368. Then r_step is rho times
    0: ((1 + .894427)/2 + .860708) / 1.860708 = .971631
    1: ((1 + .447214)/2 + .860708) / 1.860708 = .851458
    2:  (1 + .894427)/2                       = .947214
"""

import httpx
import pytest

from tests.reward_server.requests import rewards, rollout, score_group

GROUP = [
    rollout("7", "east", "north"),
    rollout("7", "north", "north"),
    rollout("7", "east"),
    rollout("8", "east"),
    rollout(None, "east"),
]
OUTCOME = [0.699368, 0.699368, 0.699368, 0.324131, 0.0]  # .6^.7, .2^.7
TRAJECTORY = [0.679528, 0.595483, 0.662451, 0.0, 0.0]
TOLERANCE = 1e-6


def near(values: list[float]) -> object:
    return pytest.approx(values, abs=TOLERANCE)


def test_outcome(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "outcome", GROUP)
    assert rewards(scored) == rewards(scored, "outcome") == near(OUTCOME)
    assert rewards(scored, "trajectory") == [None] * 5


def test_trajectory(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "trajectory", GROUP)
    assert rewards(scored) == rewards(scored, "trajectory") == near(TRAJECTORY)
    assert rewards(scored, "outcome") == [None] * 5


def test_every_step_tells_its_cosine_and_weight(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "trajectory", GROUP)
    cosines = [[step["cosine"] for step in each["steps"]] for each in scored["rollouts"]]
    weights = [[step["weight"] for step in each["steps"]] for each in scored["rollouts"]]
    assert cosines[:3] == [near([0.894427, 1.0]), near([0.447214, 1.0]), near([0.894427])]
    assert weights[:3] == [near([1.0, 0.860708]), near([1.0, 0.860708]), near([1.0])]
    assert cosines[3:] == [[None], [None]]
    assert weights[3:] == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, OUTCOME),
        (0.3, OUTCOME),
        (0.65, [0.692424, 0.663008, 0.686447, 0.210685, 0.0]),  # lambda = .35
        (1.0, [0.685480, 0.626648, 0.673526, 0.097239, 0.0]),  # lambda = .7
        (None, [0.685480, 0.626648, 0.673526, 0.097239, 0.0]),
    ],
)
def test_solver(compass_http: httpx.Client, progress: float | None, expected: list[float]) -> None:
    fields = {} if progress is None else {"progress": progress}
    scored = score_group(compass_http, "solver", GROUP, **fields)
    assert rewards(scored) == near(expected)
    assert rewards(scored, "outcome") == near(OUTCOME)
    assert rewards(scored, "trajectory") == near(TRAJECTORY)


def test_group_fields(compass_http: httpx.Client) -> None:
    for endpoint in ("outcome", "trajectory", "solver", "proposer"):
        scored = score_group(compass_http, endpoint, GROUP)
        assert scored["status"] == "ok"
        assert (scored["dominant_answer"], scored["tie"]) == ("7", False)
        assert scored["clusters"] == [{"answer": "7", "count": 3}, {"answer": "8", "count": 1}]
        # H = -(.6 ln .6 + .2 ln .2) = .628383; exp(-(.628383 - .9)^2 / .245) = .739985
        numbers = [scored[name] for name in ("dominant_share", "density", "entropy_nats", "proposer_reward")]
        assert numbers == near([0.6, 0.699368, 0.628383, 0.739985])
        assert ("rollouts" in scored) == (endpoint != "proposer")


@pytest.mark.parametrize(
    ("answers", "entropy_nats", "reward"),
    [
        ("aaaaa", 0.0, 0.036658),
        ("aaaab", 0.500402, 0.521134),
        ("aaabb", 0.673012, 0.810340),
        ("aaabc", 0.950271, 0.989738),
        ("aabbc", 1.054920, 0.906685),
        ("aabcd", 1.332179, 0.466563),
        ("abcde", 1.609438, 0.128183),
    ],
)
def test_the_seven_entropies_of_five(
    compass_http: httpx.Client, answers: str, entropy_nats: float, reward: float
) -> None:
    scored = score_group(compass_http, "proposer", [rollout(answer, "east") for answer in answers])
    assert [scored["entropy_nats"], scored["proposer_reward"]] == near([entropy_nats, reward])


@pytest.mark.parametrize(
    ("words", "expected"),
    [(64, 1.0), (65, 1 - 0.05 / 64), (96, 0.975), (128, 0.95), (200, 0.95)],
)
def test_words_before_the_answer_cost(compass_http: httpx.Client, words: int, expected: float) -> None:
    thinking = " ".join(["<think>", *["word"] * (words - 2), "</think>"])
    scored = score_group(compass_http, "outcome", [f"{thinking} <answer>7 words of an answer</answer>"])
    assert rewards(scored) == near([expected])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"position_decay": 0}, [0.680910, 0.602718, 0.662451, 0.0, 0.0]),
        ({"gamma": 0.0}, [0.971631, 0.851458, 0.947214, 0.0, 0.0]),
        ({"max_steps": 1}, [0.662451, 0.506068, 0.662451, 0.0, 0.0]),
        ({"min_position_members": 4}, [0.0] * 5),
        ({"min_position_members": 3}, [0.662451, 0.506068, 0.662451, 0.0, 0.0]),
    ],
)
def test_trajectory_ablations(
    compass_http: httpx.Client, config: dict[str, float], expected: list[float]
) -> None:
    assert rewards(score_group(compass_http, "trajectory", GROUP, config=config)) == near(expected)


@pytest.mark.parametrize(
    ("config", "progress", "lambda_t"),
    [
        ({"warmup": 0.0}, 0.5, 0.35),
        ({"lambda_schedule": "constant"}, 0.0, 0.7),
        ({"lambda_schedule": "constant", "lambda_max": 1.0}, 0.0, 1.0),
        ({"lambda_max": 0.0}, 1.0, 0.0),
    ],
)
def test_schedule_ablations(
    compass_http: httpx.Client, config: dict[str, object], progress: float, lambda_t: float
) -> None:
    scored = score_group(compass_http, "solver", GROUP, config=config, progress=progress)
    mixed = [
        (1 - lambda_t) * outcome + lambda_t * step for outcome, step in zip(OUTCOME, TRAJECTORY, strict=True)
    ]
    assert rewards(scored) == near(mixed)


def test_outcome_and_proposer_constants_can_be_overridden(compass_http: httpx.Client) -> None:
    config = {
        "preset": "paper",
        "alpha": 1.0,
        "tau_words": 2.0,
        "eta": 0.5,
        "entropy_target_nats": 0.0,
        "entropy_width_nats": 1.0,
    }
    scored = score_group(compass_http, "outcome", GROUP, config=config)
    # "<think>Step 1: east\nStep 2: north</think>" has 6 words: full penalty; "<think>Step 1: east</think>" 3.
    assert rewards(scored) == near([0.3, 0.3, 0.45, 0.15, 0.0])
    assert scored["proposer_reward"] == pytest.approx(0.820835, abs=TOLERANCE)  # exp(-.628383^2 / 2)


def test_opposite_steps_have_the_cosine_of_their_limit(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "trajectory", [rollout("7", "east"), rollout("7", "west")])
    assert rewards(scored) == near([0.5, 0.5])


def test_a_mean_of_tokens_is_taken_before_its_direction(compass_http: httpx.Client) -> None:
    # mean((2, 0), (0, -.5)) has the direction (4, -1)/sqrt(17); its cosine to the mean with (1, 0) follows.
    scored = score_group(compass_http, "trajectory", [rollout("7", "east south"), rollout("7", "east")])
    # cos(angle / 2) with cos(angle) = 4/sqrt(17) = .970143: sqrt((1 + .970143)/2) = .992507
    assert rewards(scored) == near([0.996254, 0.996254])


def test_a_lone_dominant_answer_gets_no_step_reward(compass_http: httpx.Client) -> None:
    scored = score_group(compass_http, "trajectory", [rollout("7", "east"), rollout("8", "east")])
    assert rewards(scored) == [0.0, 0.0]
    assert scored["tie"] is True


def test_a_rollout_without_steps_agrees_with_nobody(compass_http: httpx.Client) -> None:
    texts = [rollout("7", "east"), rollout("7", "east"), rollout("7")]
    scored = score_group(compass_http, "trajectory", texts)
    assert rewards(scored) == near([1.0, 1.0, 0.0])
    assert [each["status"] for each in scored["rollouts"]] == ["ok"] * 3


def test_a_step_without_an_embedding_makes_its_rollout_abstain(compass_http: httpx.Client) -> None:
    texts = [rollout("7", "east"), rollout("7", "east"), rollout("7", "nowhere")]
    for endpoint in ("trajectory", "solver"):
        scored = score_group(compass_http, endpoint, texts)
        judged, unjudged = scored["rollouts"][:2], scored["rollouts"][2]
        assert [each["reward"] for each in judged] == near([1.0, 1.0])
        assert (unjudged["status"], unjudged["reward"], unjudged["trajectory"]) == ("abstain", None, None)
        assert "embedding" in unjudged["reason"]
    assert unjudged["outcome"] == 1.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rollout(None, "east"), "no <answer>"),
        (rollout(" ", "east"), "empty"),
        (rollout("...", "east"), "empty"),
        ("<think>Step 1: east</think><answer>7", "cut off"),
        ("", "no <answer>"),
    ],
)
def test_an_invalid_rollout_counts_in_n_and_does_not_vote(
    compass_http: httpx.Client, text: str, reason: str
) -> None:
    scored = score_group(compass_http, "solver", [text, text, text, rollout("7", "east")], progress=0)
    invalid, valid = scored["rollouts"][0], scored["rollouts"][3]
    assert (invalid["status"], invalid["answer"], invalid["reward"]) == ("invalid", None, 0.0)
    assert reason in invalid["reason"]
    assert (valid["status"], valid["reason"]) == ("ok", None)
    assert valid["reward"] == pytest.approx(0.378929, abs=TOLERANCE)  # .25^.7
    assert (scored["dominant_answer"], scored["tie"], scored["dominant_share"]) == ("7", False, 0.25)


def test_a_group_without_any_answer_is_invalid(compass_http: httpx.Client) -> None:
    for endpoint in ("solver", "proposer"):
        scored = score_group(compass_http, endpoint, ["", "east"])
        assert (scored["status"], scored["dominant_answer"], scored["tie"]) == ("invalid", None, False)
        assert (scored["entropy_nats"], scored["proposer_reward"]) == (None, 0.0)


def test_parsed_rollouts_score_like_their_texts(compass_http: httpx.Client) -> None:
    parsed = [
        {"id": "0", "answer": "7", "steps": ["east", "north"]},
        {"id": "1", "answer": "7", "steps": ["north", "north"]},
        {"id": "2", "answer": "7", "steps": ["east"]},
        {"id": "3", "answer": "8", "steps": ["east"]},
        {"id": "4", "answer": None, "steps": ["east"]},
    ]
    response = compass_http.post("/score/solver", json={"groups": [{"id": "g", "rollouts": parsed}]})
    assert response.json()["groups"] == [score_group(compass_http, "solver", GROUP)]
