"""Records for tests of the ledger: groups as a caller sends them, scored without a server."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.ledger.recorder import Scored
from ireasoner.reward_server.ledger.schema import FILE
from ireasoner.reward_server.scoring_config import PAPER

Json = dict[str, Any]


def sent(answers: Sequence[str | None], name: str = "g", **context: Any) -> Json:
    """A group whose rollouts give these answers, each after one step of its own."""
    rollouts = [
        {"id": str(index), "answer": answer, "steps": [f"Step {index} of {name} leads to {answer}."]}
        for index, answer in enumerate(answers)
    ]
    return {"id": name, "rollouts": rollouts, **context}


def scored(group: Json) -> Json:
    """The group as `/score/solver` would answer: a rollout's reward is the share of its answer."""
    rollouts = group["rollouts"]
    counts = Counter(each["answer"] for each in rollouts if each["answer"] is not None)
    shares = {answer: count / len(rollouts) for answer, count in counts.items()}
    dominant = max(shares, key=lambda answer: shares[answer], default=None)
    return {
        "id": group["id"],
        "status": "ok" if shares else "invalid",
        "dominant_answer": dominant,
        "tie": False,
        "dominant_share": shares.get(dominant, 0.0) if dominant is not None else 0.0,
        "density": 0.5,
        "entropy_nats": 0.25 if shares else None,
        "proposer_reward": 0.125,
        "clusters": [{"answer": answer, "count": count} for answer, count in counts.most_common()],
        "rollouts": [
            {
                "id": each["id"],
                "status": "invalid" if each["answer"] is None else "ok",
                "reason": None,
                "answer": each["answer"],
                "reward": shares.get(each["answer"], 0.0),
                "outcome": shares.get(each["answer"], 0.0) / 2,
                "trajectory": None,
                "steps": [{"text": text, "cosine": None, "weight": 0.0} for text in each["steps"]],
            }
            for each in rollouts
        ],
    }


def scored_for_proposer(group: Json) -> Json:
    """The group as `/score/proposer` would answer, which lists no rollouts."""
    return {name: each for name, each in scored(group).items() if name != "rollouts"}


def record(*groups: Json, **changes: Any) -> Record:
    """A record of these groups; `changes` are fields of `Record`."""
    made = Record(
        feed="test",
        sequence=1,
        received_s=1_800_000_000.0,
        experiment="-",
        source="-",
        update=None,
        endpoint="solver",
        progress=0.5,
        request_id="request",
        config_label="paper",
        config=PAPER,
        fingerprint="0123456789abcdef",
        embedder="compass",
        groups=[{"group": group, "scored": scored(group)} for group in groups],
    )
    return replace(made, **changes)


def exchange(*groups: Json, **fields: Any) -> tuple[bytes, bytes]:
    """The body of a request with these groups, and the response to it."""
    answer = {"request_id": "request", "fingerprint": "0123", "groups": [scored(group) for group in groups]}
    return json.dumps({"groups": groups, **fields}).encode(), json.dumps(answer).encode()


def context(groups: int, **changes: Any) -> Scored:
    """What a server knows of a request besides its body."""
    return replace(
        Scored(
            experiment="-",
            endpoint="solver",
            progress=0.5,
            config_label="paper",
            config=PAPER.model_dump_json(),
            embedder="compass",
            groups=groups,
        ),
        **changes,
    )


def names(folder: Path) -> list[str]:
    """The names of the groups in a ledger, in the order in which they were kept."""
    if not (folder / FILE).exists():
        return []
    with closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as connection:
        try:
            return [row[0] for row in connection.execute("SELECT name FROM groups ORDER BY id")]
        except sqlite3.OperationalError:  # its tables are being created
            return []


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    """Waits until something is so; fails after `deadline_s`."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)
