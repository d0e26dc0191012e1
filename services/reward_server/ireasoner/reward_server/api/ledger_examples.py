"""Examples of the endpoints under `/ledger/`, with a ledger that holds one group: that of `RECORD`."""

from collections.abc import Mapping
from dataclasses import asdict

import orjson

from ireasoner.reward_server.api.example import Example, Json
from ireasoner.reward_server.ledger import ledger_wire, served_image
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.ledger.record import Record, figures
from ireasoner.reward_server.scoring_config import PAPER, ROBUST

IMAGE = "7f8b9e0d5b3f6fd3b0c0e0d1b7f3e7a2c9d4f1a8b6e5d4c3b2a1908f7e6d5c4b"
SENT: Json = {
    "id": "q1",
    "question": "What is the sum of row 2?",
    "image": IMAGE,
    "labels": ["6"],
    "rollouts": [
        {"id": "0", "text": "<think>Step 1: Row 2 reads 2, 4.\nStep 2: 2 + 4 = 6.</think><answer>6</answer>"},
        {"id": "1", "answer": "6", "steps": ["Row 2 reads 2, 4.", "Adding 2 and 4 gives 6."]},
        {"id": "2", "text": "<think>Step 1: 2 times 4 is 8.</think><answer>8</answer>"},
    ],
}
_SUMS = ("2 + 4 = 6.", "Adding 2 and 4 gives 6.")
"""The last step of each rollout that answers 6."""
SCORED: Json = {
    "id": "q1",
    "status": "ok",
    "dominant_answer": "6",
    "tie": False,
    "dominant_share": 0.6667,
    "density": 0.7529,
    "entropy_nats": 0.6365,
    "proposer_reward": 0.7532,
    "clusters": [{"answer": "6", "count": 2}, {"answer": "8", "count": 1}],
    "rollouts": [
        *(
            {
                "id": str(index),
                "status": "ok",
                "reason": None,
                "answer": "6",
                "reward": 0.7512,
                "outcome": 0.7529,
                "trajectory": 0.7443,
                "components": {"consensus": 0.7529, "length": 1.0},
                "steps": [
                    {"text": "Row 2 reads 2, 4.", "cosine": 1.0, "weight": 1.0},
                    {"text": text, "cosine": 0.9508, "weight": 0.8607},
                ],
            }
            for index, text in enumerate(_SUMS)
        ),
        {
            "id": "2",
            "status": "ok",
            "reason": None,
            "answer": "8",
            "reward": 0.3708,
            "outcome": 0.4635,
            "trajectory": 0.0,
            "components": {"consensus": 0.4635, "length": 1.0},
            "steps": [{"text": "2 times 4 is 8.", "cosine": None, "weight": 0.0}],
        },
    ],
}
RECORD = Record(
    feed="examples",
    sequence=1,
    received_s=1_800_000_000.0,
    experiment="-",
    source="grids-seed-1",
    update=12,
    endpoint="solver",
    progress=0.5,
    request_id="7a4c58a3ca0d4dd89253be9c0b633832",
    config_label="paper",
    config=PAPER,
    fingerprint="c6ff2bd44fded4db",
    embedder="minilm",
    groups=[{"group": SENT, "scored": SCORED}],
)
ROBUST_SCORED: Json = {
    **SCORED,
    "proposer_reward": 0.9957,
    "clusters": [
        {"answer": "6", "count": 2, "members": [{"answer": "6", "count": 2, "rules": []}]},
        {"answer": "8", "count": 1, "members": [{"answer": "8", "count": 1, "rules": []}]},
    ],
    "rollouts": [
        {
            **SCORED["rollouts"][index],
            "reward": 0.6786,
            "trajectory": 0.3815,
            "steps": [
                {"text": "Row 2 reads 2, 4.", "cosine": 1.0, "weight": 1.0, "credit": 1.0, "place": 0},
                {"text": text, "cosine": 0.4814, "weight": 0.8607, "credit": 0.4814, "place": 1},
            ],
        }
        for index, text in enumerate(_SUMS)
    ]
    + SCORED["rollouts"][2:],
}
_CHANGE = GroupChange.of(SCORED, ROBUST_SCORED, "solver")
COMPARISON = "robust"
_FIGURES = figures(SENT, SCORED, PAPER)
_SUMMARY = ledger_wire.Summary(
    id="0-1",
    run="0-1",
    experiment=RECORD.experiment,
    source=RECORD.source,
    update=RECORD.update,
    received_s=RECORD.received_s,
    endpoint=RECORD.endpoint,
    progress=RECORD.progress,
    name=SENT["id"],
    question_id="0-1",
    question=SENT["question"],
    image=IMAGE,
    flipped=None,
    **asdict(_FIGURES),
).model_dump(mode="json")
_WHOLE: Json = {
    **_SUMMARY,
    "request_id": RECORD.request_id,
    "config_label": RECORD.config_label,
    "fingerprint": RECORD.fingerprint,
    "embedder": RECORD.embedder,
    "config": PAPER.model_dump(mode="json"),
    "step_weight": 0.2,
    "labels": SENT["labels"],
    "sent": SENT,
    "scored": SCORED,
    "newer": None,
    "older": None,
}
_RUN = ledger_wire.Run(
    id="0-1",
    experiment=RECORD.experiment,
    source=RECORD.source,
    groups=1,
    rollouts=3,
    words=3 * _FIGURES.words,
    first_s=RECORD.received_s,
    last_s=RECORD.received_s,
    groups_per_minute=None,
    last_update=RECORD.update,
    endpoint="solver",
    reward=[_FIGURES.reward or 0.0],
    entropy_nats=[_FIGURES.entropy_nats or 0.0],
    dominant_share=[_FIGURES.dominant_share],
    evicted_groups=0,
)
_RECORDING = ledger_wire.Recording(
    groups=1,
    rollouts=3,
    bytes=344_064,
    max_bytes=None,
    dropped={},
    evicted_groups=0,
    is_recording=False,
    problem=None,
)
_TIMELINE = ledger_wire.Timeline(
    unit="update",
    endpoints=["solver"],
    points=[
        ledger_wire.Point(
            at=12,
            until=12,
            groups=1,
            rollouts=3,
            reward=_FIGURES.reward,
            outcome=_FIGURES.outcome,
            trajectory=_FIGURES.trajectory,
            proposer_reward=_FIGURES.proposer_reward,
            entropy_nats=_FIGURES.entropy_nats,
            dominant_share=_FIGURES.dominant_share,
            flat_share=0.0,
            tie_share=0.0,
            abstained_share=0.0,
            invalid_share=0.0,
            words=_FIGURES.words,
            steps=_FIGURES.steps,
            flip_share=None,
            correct_share=1.0,
            first_s=RECORD.received_s,
            last_s=RECORD.received_s,
        )
    ],
)
_COMPARISON = ledger_wire.ComparisonState(
    name=COMPARISON,
    config="robust",
    against=None,
    created_s=RECORD.received_s + 60,
    groups=1,
    done=1,
    summary={
        "rollouts": 3,
        "changed_rewards": _CHANGE.changed,
        "changed_groups": 1,
        "rank_flips": _CHANGE.rank_flips,
        "groups_with_flips": 0,
        "changed_dominant_answers": 0,
        "correlation": 1.0,
        "failed": 0,
    },
).model_dump(mode="json")
_STEPS = ["Row 2 reads 2, 4.", "2 + 4 = 6.", "Adding 2 and 4 gives 6."]

LEDGER_EXAMPLES: Mapping[str, Example] = {
    "GET /ledger/runs": Example(ledger_wire.Runs(ledger=_RECORDING, runs=[_RUN]).model_dump(mode="json")),
    "GET /ledger/runs/{run}/timeline": Example(_TIMELINE.model_dump(mode="json"), parameters={"run": "0-1"}),
    "GET /ledger/events": Example(
        'event: groups\ndata: {"run":"0-1","last_group":"0-1","groups":1,"dropped":0}\n\n',
        media_type="text/event-stream",
    ),
    "GET /ledger/groups": Example(
        {"groups": [_SUMMARY], "next": None, "is_complete": True},
        parameters={"sort": "spread", "flag": "right", "q": "row 2"},
    ),
    "GET /ledger/groups.jsonl": Example(
        orjson.dumps(_WHOLE).decode() + "\n", parameters={"run": "0-1"}, media_type="application/jsonl"
    ),
    "GET /ledger/groups/{group}": Example(_WHOLE, parameters={"group": "0-1"}),
    "GET /ledger/groups/{group}/neighbours": Example(
        {"same_question": [], "same_image": []}, parameters={"group": "0-1"}
    ),
    "GET /ledger/images/{sha256}": Example(
        "(the image's bytes)", parameters={"sha256": IMAGE}, media_type=served_image.MEDIA_TYPE
    ),
    "POST /ledger/cosines": Example(
        {"embedder": "minilm", "cosines": [[1.0, 0.407, 0.399], [0.407, 1.0, 0.808], [0.399, 0.808, 1.0]]},
        {"steps": _STEPS},
    ),
    "POST /ledger/compare": Example(
        {
            "group": _SUMMARY,
            "scored": [
                {
                    "config_label": "paper",
                    "config": PAPER.model_dump(mode="json"),
                    "fingerprint": "c6ff2bd44fded4db",
                    "scored": SCORED,
                },
                {
                    "config_label": "robust",
                    "config": ROBUST.model_dump(mode="json"),
                    "fingerprint": "c6ff2bd44fded4db",
                    "scored": ROBUST_SCORED,
                },
            ],
        },
        {"group": "0-1", "configs": ["paper", "robust"]},
    ),
    "GET /ledger/comparisons": Example({"comparisons": [_COMPARISON]}),
    "GET /ledger/comparisons/{name}": Example(
        {
            "comparison": _COMPARISON,
            "rows": [
                {
                    "group": _SUMMARY,
                    "before": list(_CHANGE.before),
                    "after": list(_CHANGE.after),
                    "change": _CHANGE.change,
                    "rank_flips": _CHANGE.rank_flips,
                    "dominant_before": "6",
                    "dominant_after": "6",
                }
            ],
            "next": None,
        },
        parameters={"name": COMPARISON},
    ),
    "GET /ledger/runs/{run}/audit": Example(
        {
            "run": "0-1",
            "experiment": RECORD.experiment,
            "source": RECORD.source,
            "unit": "update",
            "evicted_groups": 0,
            "verdict": "too early",
            "updates": 1,
            "window": 3,
            "signs": [],
            "figures": [
                {"name": name, "first": figure, "now": figure}
                for name, figure in (
                    ("answer_entropy_nats", _FIGURES.entropy_nats),
                    ("dominant_share", _FIGURES.dominant_share),
                    ("pseudo_label_accuracy", 1.0),
                    ("flat_share", 0.0),
                    ("invalid_share", 0.0),
                    ("words", _FIGURES.words),
                    ("steps", _FIGURES.steps),
                )
            ],
        },
        parameters={"run": "0-1"},
    ),
}
