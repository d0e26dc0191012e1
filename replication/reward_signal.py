"""Measures the reward of a run: how many pseudo-labels were true, and how well it ranked right above wrong."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ireasoner.trainer.rewards.shadow_labels import reward_auc
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.worlds.digit_grids.labels import asked_about
from ireasoner.trainer.worlds.digit_grids.question import READINGS
from ireasoner.trainer.worlds.world import Asked
from replication.reasoning import steps_true

CURVES = {
    "rollout_accuracy": "solver/shadow/rollout_accuracy",
    "pseudo_label_accuracy": "solver/shadow/pseudo_label_accuracy",
    "answer_entropy_nats": "solver/answer_entropy_nats",
    "dominant_share": "solver/dominant_share",
    "questions_distinct": "solver/questions_distinct",
    "steps": "solver/steps",
}
"""The curves over the Solver's updates, with their names in metrics.jsonl."""

_READINGS = frozenset(question.text for question in READINGS)


def read_curves(run_folder: Path) -> dict[str, list[float | None]]:
    """The curves of a run: one value per update of the Solver (`update`), or None if it was not logged."""
    lines = [line for line in read_lines(run_folder / "metrics.jsonl") if "solver/loss" in line]
    curves: dict[str, list[float | None]] = {"update": [float(line["update"]) for line in lines]}
    for name, metric in CURVES.items():
        curves[name] = [line.get(metric) for line in lines]
    return curves


def read_signal(run_folder: Path) -> dict[str, float | None]:
    """Figures of a whole run; None for a figure without data.

    pseudo_label_accuracy       share of groups whose dominant answer is true
    reward_rank_correlation     rank-biserial correlation of the trained reward with correctness inside a group, in
                                [-1, 1], mean over groups that have right and wrong rollouts; `..._late`: last quarter
    step_reward_correlation     the same of the step reward with having no wrong step, among rollouts with a true
                                dominant answer; a wrong step is a wrong addition or, where every step reads one cell, a
                                wrong reading
    reward_soundness_correlation    the same of the trained reward, among all right rollouts
    lucky_share                 share of the right rollouts that have a wrong step
    step_separation             probability that a true step has a higher cosine to its group than a wrong one, in
                                [0, 1]; 0.5 is chance
    answer_entropy_nats, dominant_share, questions_distinct, steps      means over the last quarter of the updates
    collapse_update             the update at which the collapse guard saw the onset of a collapse
    """
    groups = [line for line in read_lines(run_folder / "groups.jsonl") if line["role"] == "solver"]
    labelled = [group for group in groups if "shadow" in group]
    late = [group for group in labelled if group["progress"] >= 0.75]
    curves = read_curves(run_folder)
    signal = {
        "pseudo_label_accuracy": _mean(
            float(group["shadow"]["pseudo_label_right"])
            for group in labelled
            if group["shadow"]["pseudo_label_right"] is not None
        ),
        "reward_rank_correlation": _correlation([group["shadow"]["reward_auc"] for group in labelled]),
        "reward_rank_correlation_late": _correlation([group["shadow"]["reward_auc"] for group in late]),
        "step_reward_correlation": _correlation(
            [
                _soundness_auc(group, [rollout["trajectory"] for rollout in group["rollouts"]])
                for group in labelled
                if group["shadow"]["pseudo_label_right"]
            ]
        ),
        "reward_soundness_correlation": _correlation(
            [_soundness_auc(group, group["trained_on"]) for group in labelled]
        ),
        "lucky_share": _mean(float(not sound) for group in labelled for _, sound in _right(group)),
        "step_separation": _mean(filter(_known, map(_step_auc, groups))),
    }
    for name in ("answer_entropy_nats", "dominant_share", "questions_distinct", "steps"):
        values = curves[name]
        signal[name] = _mean(filter(_known, values[len(values) * 3 // 4 :]))
    mark = run_folder / "collapse.json"
    signal["collapse_update"] = float(json.loads(mark.read_text())["update"]) if mark.exists() else None
    return signal


def _correlation(aucs: Sequence[float | None]) -> float | None:
    """The mean rank-biserial correlation, 2 AUC - 1."""
    auc = _mean(filter(_known, aucs))
    return None if auc is None else 2 * auc - 1


def _soundness_auc(group: dict[str, Any], rewards: Sequence[float | None]) -> float | None:
    """Probability that a right rollout without a wrong step has a higher reward than a right one with one."""
    right = _right(group)
    return reward_auc([rewards[index] for index, _ in right], [sound for _, sound in right])


def _right(group: dict[str, Any]) -> list[tuple[int, bool]]:
    """The indices of a group's right rollouts, and whether each has no wrong step."""
    asked = _asked(group)
    return [
        (index, False not in _true(rollout, asked))
        for index, (rollout, hit) in enumerate(zip(group["rollouts"], group["shadow"]["right"], strict=True))
        if hit
    ]


def _step_auc(group: dict[str, Any]) -> float | None:
    """Probability that a true step has a higher cosine than a wrong one; None if the group lacks either."""
    asked = _asked(group)
    judged = [
        (step["cosine"], truth)
        for rollout in group["rollouts"]
        for step, truth in zip(rollout["steps"], _true(rollout, asked), strict=True)
        if truth is not None and step["cosine"] is not None
    ]
    return reward_auc([cosine for cosine, _ in judged], [truth for _, truth in judged])


def _asked(group: dict[str, Any]) -> Asked | None:
    """A group's question about its image, if it is one about a grid whose cells are read one a step."""
    if group.get("question") not in _READINGS:
        return None
    return asked_about(Path(group["image"]), group["question"])


def _true(rollout: dict[str, Any], asked: Asked | None) -> list[bool | None]:
    return steps_true([step["text"] for step in rollout["steps"]], asked)


def _known(value: object) -> bool:
    return value is not None


def _mean(values: Iterable[Any]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None
