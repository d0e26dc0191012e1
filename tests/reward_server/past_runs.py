"""Files of past runs: a run folder's groups.jsonl, and what reward-score reads and writes."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def run_line(
    update: int,
    answers: Sequence[str | None],
    *,
    question: str | None = "What is the sum of row 1?",
    steps: Sequence[str] = ("north", "north east"),
    truth: str | None = None,
    **changes: Any,
) -> Json:
    """A line of groups.jsonl from an update of the Solver, as the trainer writes it."""
    counts = Counter(answer for answer in answers if answer is not None)
    dominant, top = counts.most_common(1)[0] if counts else (None, 0)
    rewards = [0.0 if answer is None else counts[answer] / len(answers) for answer in answers]
    line = {
        "update": update,
        "role": "solver",
        "image": "images/gone.png",
        "question": question,
        "progress": 0.5,
        "fingerprint": "0123456789abcdef",
        "sampling": {"temperature": 1.0},
        "trained_on": rewards,
        "has_spread": len(set(rewards)) > 1,
        "proposed_by": "proposer-000000",
        "status": "ok" if counts else "invalid",
        "dominant_answer": dominant,
        "dominant_share": top / max(1, len(answers)),
        "tie": False,
        "density": 0.5,
        "entropy_nats": 0.5 if counts else None,
        "proposer_reward": 0.25,
        "rollouts": [
            {
                "text": f"<think>{'. '.join(steps)}.</think><answer>{answer}</answer>",
                "token_ids": [1, 2],
                "policy": "solver-000000",
                "seed": index,
                "finish_reason": "stop",
                "status": "invalid" if answer is None else "ok",
                "reason": "there is no <answer>" if answer is None else None,
                "answer": answer,
                "reward": reward,
                "outcome": reward,
                "trajectory": reward / 2,
                "steps": [{"text": text, "cosine": 0.9, "weight": 1.0} for text in steps],
            }
            for index, (answer, reward) in enumerate(zip(answers, rewards, strict=True))
        ],
    }
    if truth is not None:
        line["shadow"] = {
            "truth": truth,
            "pseudo_label_right": dominant == truth,
            "right": [answer == truth for answer in answers],
            "reward_auc": None,
        }
    return {**line, **changes}


def early_line(update: int, answers: Sequence[str | None]) -> Json:
    """A line as the first versions wrote it: without sampling, spread, token ids and reasons."""
    line = run_line(update, answers, tie=None)
    for name in ("sampling", "has_spread"):
        del line[name]
    for rollout in line["rollouts"]:
        for name in ("token_ids", "reason"):
            del rollout[name]
    return line


def proposer_line(update: int) -> Json:
    """A line of groups.jsonl from an update of the Proposer."""
    proposal = {"text": "<question>?</question>", "policy": "p", "question": "?", "reward": 0.5}
    return {
        "update": update,
        "role": "proposer",
        "image": "images/gone.png",
        "question": None,
        "progress": 0.5,
        "fingerprint": "0123456789abcdef",
        "trained_on": [0.5, 0.5],
        "policy": "proposer-000000",
        "proposals": [{**proposal, "entropy_nats": 0.9}] * 2,
    }


def write_lines(file: Path, lines: Iterable[Json | str]) -> Path:
    """Writes JSON lines; a string is written as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return file


def write_run(folder: Path, lines: Iterable[Json | str], **reward: Any) -> Path:
    """Writes a run folder whose settings have this `reward`; returns it."""
    write_lines(folder / "groups.jsonl", lines)
    settings = {"model": "tiny", "reward": {"config": "paper", "overrides": {}, **reward}}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def sent_line(name: str, answers: Sequence[str]) -> Json:
    """A line that reward-score reads."""
    texts = [f"<think>north. north east.</think><answer>{answer}</answer>" for answer in answers]
    return {
        "id": name,
        "rollouts": [{"id": str(index), "text": text} for index, text in enumerate(texts)],
    }


def scored_line(name: str, answers: Sequence[str], endpoint: str = "solver", detail: str = "full") -> Json:
    """A line that reward-score wrote for `sent_line` of the same group."""
    line = run_line(0, answers)
    rollouts = [
        {"id": str(index), **{key: rollout[key] for key in _SCORED}}
        for index, rollout in enumerate(line["rollouts"])
    ]
    for rollout in rollouts:
        if endpoint == "outcome":
            rollout["trajectory"] = None
        if endpoint == "trajectory":
            rollout["outcome"] = None
        if detail == "rewards":
            del rollout["steps"]
    scored = {"id": name, **{key: line[key] for key in _OF_GROUP}, "fingerprint": "0123456789abcdef"}
    if detail == "full":
        counts = Counter(answers).most_common()
        scored["clusters"] = [{"answer": answer, "count": count} for answer, count in counts]
    return scored if endpoint == "proposer" else {**scored, "rollouts": rollouts}


_SCORED = ("status", "reason", "answer", "reward", "outcome", "trajectory", "steps")
_OF_GROUP = (
    "status",
    "dominant_answer",
    "tie",
    "dominant_share",
    "density",
    "entropy_nats",
    "proposer_reward",
)
