"""A ledger as a long run leaves it: the workload's groups over many updates, with questions, images and labels.

The rewards are drawn at random: nothing is scored, so that half a million rollouts take minutes.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.workload import Sample, groups
from ireasoner.reward_server.ledger import schema
from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.scoring_config import PAPER

Json = dict[str, Any]

START_S = 1_800_000_000.0
UPDATE_S = 30.0
QUESTIONS = 4_096
"""Distinct questions, each asked again when all were."""
IMAGES = 1_024
NEEDLE = "a heron in the reeds"
"""A text that one group in `NEEDLE_EVERY` has."""
NEEDLE_EVERY = 8_192


def fill(
    folder: Path, updates: int, groups_per_update: int, sources: Sequence[str] = ("seed-1",)
) -> Iterator[int]:
    """Fills a new ledger; yields the number of groups after each update."""
    connection = schema.open_to_write(folder)
    connection.execute("PRAGMA synchronous = OFF")
    try:
        for update in range(updates):
            connection.execute("BEGIN")
            for index, source in enumerate(sources):
                insert(
                    connection, _record(source, len(sources) * update + index + 1, update, groups_per_update)
                )
            connection.execute("COMMIT")
            yield len(sources) * (update + 1) * groups_per_update
    finally:
        connection.close()


def _record(source: str, sequence: int, update: int, count: int) -> Record:
    chance = random.Random(f"{source} {update}")
    first = update * count
    return Record(
        feed="fill",
        sequence=sequence,
        received_s=START_S + UPDATE_S * update,
        experiment="-",
        source=source,
        update=update,
        endpoint="solver",
        progress=min(1.0, update / 1_000),
        request_id=f"{source}-{update}",
        config_label="paper",
        config=PAPER,
        fingerprint="c6ff2bd44fded4db",
        embedder="minilm",
        groups=[
            _scored(chance, first + index, samples)
            for index, samples in enumerate(groups(chance.randrange(2**32), count))
        ],
    )


def _scored(chance: random.Random, number: int, samples: Sequence[Sample]) -> Json:
    """One group as it was sent and as it might be scored."""
    dominant = samples[0].answer
    answers = [sample.answer for sample in samples]
    counts = {answer: answers.count(answer) for answer in dict.fromkeys(answers)}
    share = counts[dominant] / len(samples)
    needle = f" There is {NEEDLE}." if number % NEEDLE_EVERY == 0 else ""
    asked = number % QUESTIONS
    sent = {
        "id": str(number),
        "question": f"Chart {asked}: what is the value of bar {asked % 7}?{needle} 图表 {asked}",
        "image": hashlib.sha256(str(number % IMAGES).encode()).hexdigest(),
        "labels": [dominant if chance.random() < 0.8 else "0"],
        "rollouts": [{"id": str(index), "text": sample.text} for index, sample in enumerate(samples)],
    }
    rollouts = []
    for index, sample in enumerate(samples):
        outcome = round(counts[sample.answer] / len(samples), 4)
        trajectory = round(chance.random(), 4) if sample.answer == dominant else 0.0
        rollouts.append(
            {
                "id": str(index),
                "status": "ok",
                "reason": None,
                "answer": sample.answer,
                "reward": round(0.5 * outcome + 0.5 * trajectory, 4),
                "outcome": outcome,
                "trajectory": trajectory,
                "steps": [
                    {
                        "text": step,
                        "cosine": round(chance.uniform(0.2, 1), 4),
                        "weight": round(0.86**place, 4),
                    }
                    for place, step in enumerate(sample.steps)
                ],
            }
        )
    scored = {
        "id": str(number),
        "status": "ok",
        "dominant_answer": dominant,
        "tie": chance.random() < 0.02,
        "dominant_share": share,
        "density": round(share**0.7, 4),
        "entropy_nats": round(1.5 * (1 - share), 4),
        "proposer_reward": round(chance.random(), 4),
        "clusters": [{"answer": answer, "count": count} for answer, count in counts.items()],
        "rollouts": rollouts,
    }
    return {"group": sent, "scored": scored}
