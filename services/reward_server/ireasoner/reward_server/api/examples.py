"""A request and its response for each endpoint, which become part of the OpenAPI document.

The responses are those of the default embedder, with rounded numbers. They pass through the wire's models, so an
example cannot have a field that the wire does not have.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.example import Example, Json
from ireasoner.reward_server.api.ledger_examples import LEDGER_EXAMPLES, SCORED, SENT
from ireasoner.reward_server.cohorts.cohort_wire import OpenRLHFAnswer, RemoteAnswer, VerifyAnswer
from ireasoner.reward_server.scoring_config import PAPER, PRESETS

_ROLLOUTS: list[Json] = SENT["rollouts"]
_REQUEST: Json = {"groups": [{"id": "q1", "rollouts": _ROLLOUTS}], "config": "paper"}
_GROUP: Json = {name: value for name, value in SCORED.items() if name not in ("clusters", "rollouts")}
_COMPLETION = "<think>Step 1: 2 + 4 = 6.</think><answer>6</answer>"
_COHORT: Json = {
    "outcome": 1.0,
    "trajectory": 0.0,
    "dominant_share": 1.0,
    "tie": 0.0,
    "valid": 1.0,
    "abstained": 0.0,
    "steps_judged": 1.0,
    "partial": 0.0,
    "group_size": 1.0,
}
"""The parts of a reward in a cohort of one, which has nothing to agree with."""


IMAGE = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel, which the example of an upload sends."""
_SHA256 = sha256(IMAGE).hexdigest()


def _scores(**parts: Any) -> Json:
    """The response to `_REQUEST`, with these parts besides those that every group has."""
    answer = {
        "request_id": "7a4c58a3ca0d4dd89253be9c0b633832",
        "fingerprint": "c6ff2bd44fded4db",
        "groups": [{**_GROUP, **parts}],
    }
    return wire.ScoreResponse.model_validate(answer).model_dump(mode="json", exclude_unset=True)


def _rollouts(parts: Sequence[tuple[float, float | None, float | None]]) -> list[Json]:
    """Scored rollouts of `_REQUEST`, from the reward, outcome and trajectory of each."""
    return [
        {
            "id": sent["id"],
            "status": "ok",
            "reason": None,
            "answer": answer,
            "reward": reward,
            "outcome": outcome,
            "trajectory": trajectory,
            **({} if outcome is None else {"components": {"consensus": outcome, "length": 1.0}}),
        }
        for sent, answer, (reward, outcome, trajectory) in zip(_ROLLOUTS, ("6", "6", "8"), parts, strict=True)
    ]


def _with_steps(rollouts: list[Json], *steps: list[tuple[str, float | None, float]]) -> list[Json]:
    names = ("text", "cosine", "weight")
    return [
        {**rollout, "steps": [dict(zip(names, step, strict=True)) for step in own]}
        for rollout, own in zip(rollouts, steps, strict=True)
    ]


_PRESETS = {
    name: wire.RegisteredConfig(name=name, used=True, config=PRESETS[name]) for name in sorted(PRESETS)
}
_MINE = wire.RegisteredConfig(
    name="mine", used=False, config=PAPER.model_copy(update={"alpha": 0.5})
).model_dump(mode="json")
_COHORT_OF_ONE = {"group_size": 1}
_VERIFIED: Json = {
    "responses_create_params": {"input": "What is 2 + 4?"},
    "response": {"output": [{"content": [{"text": _COMPLETION}]}]},
}

EXAMPLES: Mapping[str, Example] = {
    "POST /score/outcome": Example(
        _scores(rollouts=_rollouts([(0.7529, 0.7529, None), (0.7529, 0.7529, None), (0.4635, 0.4635, None)])),
        {**_REQUEST, "detail": "rewards"},
    ),
    "POST /score/trajectory": Example(
        _scores(
            clusters=[{"answer": "6", "count": 2}, {"answer": "8", "count": 1}],
            rollouts=_with_steps(
                _rollouts([(0.7443, None, 0.7443), (0.7443, None, 0.7443), (0.0, None, 0.0)]),
                [("Row 2 reads 2, 4.", 1.0, 1.0), ("2 + 4 = 6.", 0.9508, 0.8607)],
                [("Row 2 reads 2, 4.", 1.0, 1.0), ("Adding 2 and 4 gives 6.", 0.9508, 0.8607)],
                [("2 times 4 is 8.", None, 0.0)],
            ),
        ),
        _REQUEST,
    ),
    "POST /score/solver": Example(
        _scores(
            rollouts=_rollouts([(0.7512, 0.7529, 0.7443), (0.7512, 0.7529, 0.7443), (0.3708, 0.4635, 0.0)])
        ),
        {**_REQUEST, "progress": 0.5, "detail": "rewards"},
    ),
    "POST /score/proposer": Example(_scores(), {**_REQUEST, "detail": "rewards"}),
    "GET /configs": Example(wire.RegisteredConfigs(configs=list(_PRESETS.values())).model_dump(mode="json")),
    "GET /configs/{name}": Example(_PRESETS["paper"].model_dump(mode="json"), parameters={"name": "paper"}),
    "PUT /ledger/images/{sha256}": Example(
        wire.StoredImage(sha256=_SHA256, bytes=len(IMAGE), pixels=1).model_dump(mode="json"),
        parameters={"sha256": _SHA256},
    ),
    "PUT /configs/{name}": Example(
        _MINE,
        {"preset": "paper", "alpha": 0.5},
        {"name": "mine"},
    ),
    "DELETE /configs/{name}": Example(_MINE, parameters={"name": "mine"}),
    "POST /cohort/openrlhf": Example(
        OpenRLHFAnswer(
            rewards=[0.3], scores=[0.3], extra_logs={name: [part] for name, part in _COHORT.items()}
        ).model_dump(mode="json"),
        {"query": [f"What is 2 + 4? {_COMPLETION}"], "prompts": ["What is 2 + 4? "], "labels": [None]},
        _COHORT_OF_ONE,
    ),
    "POST /cohort/remote": Example(
        RemoteAnswer(reward=0.3, **_COHORT).model_dump(mode="json"),
        {"prompt": "What is 2 + 4?", "response": _COMPLETION, "label": None},
        _COHORT_OF_ONE,
    ),
    "POST /verify": Example(
        VerifyAnswer.model_validate(
            {**_VERIFIED, "reward": 0.3, **{f"reward_{name}": part for name, part in _COHORT.items()}}
        ).model_dump(mode="json"),
        _VERIFIED,
        _COHORT_OF_ONE,
    ),
    "GET /livez": Example(wire.Alive().model_dump(mode="json")),
    "GET /readyz": Example(
        wire.Readiness(
            ready=True,
            reason=None,
            embedder="minilm",
            last_pass=wire.LastPass(ok=True, age_s=0.03, texts=1, error=None),
            queued_texts=0,
            worker_restarts=0,
        ).model_dump(mode="json")
    ),
    "GET /metrics": Example(
        """# HELP reward_requests_total Requests by route, status and experiment.
# TYPE reward_requests_total counter
reward_requests_total{code="200",experiment="-",route="/score/solver"} 1.0
# HELP reward_groups_total Groups by status.
# TYPE reward_groups_total counter
reward_groups_total{config="paper",experiment="-",status="ok"} 1.0
# HELP reward_queue_texts Distinct texts that wait or are being embedded.
# TYPE reward_queue_texts gauge
reward_queue_texts 0.0
""",
        media_type="text/plain",
    ),
    **LEDGER_EXAMPLES,
}
"""The example of each endpoint, by method and route; that of `/metrics` shows three of the metrics."""
