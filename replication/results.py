"""The results of a table: every metric of every arm with its interval, and the paired differences between arms."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ireasoner.trainer.worlds.world import Asked
from replication.arms import REFERENCES, Arm
from replication.evaluation import METRICS
from replication.intervals import Estimate, across_questions, across_seeds
from replication.provenance import provenance
from replication.switches import Pair, differing, repeated_changes

OWN_SPLITS = ("test", "held_out_combinations")
FOREIGN_SPLITS = ("easy_vqa",)
"""Question sets made by others; a task may have them."""
BOTH = "both"
"""The questions of both of our own splits, which differences between arms use."""
GATE = 0.10
"""The least difference between maj@N and greedy accuracy of the base model; below it, there is little to learn."""

MOST_COMPARED = 8
"""Up to this number of arms, each is compared with every other one."""

OUTCOME_ONLY = "outcome-only"
"""The arm that is paid for agreement on answers alone; its variants with other settings begin with this name."""

DECIMALS = 12
"""Decimals of an answer's values that count and are kept: far more than a mean of eight shares needs, and too few for
the noise of its last bits."""

Run = Mapping[str, Any]
"""The result.json of a run."""

Runs = Mapping[str, Mapping[int, Run]]
"""The result of each complete run, by arm and seed."""

Clusters = Mapping[str, Sequence[Hashable]]
"""For each split and question, the key of the cluster that the question belongs to."""


def results(
    runs: Runs,
    arms: Sequence[Arm],
    clusters: Clusters,
    *,
    label: str,
    shared: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of results.json.

    Args:
        runs: The complete runs.
        arms: The arms of the table, in its order.
        clusters: The cluster of each question of each split.
        label: The title of the table.
        shared: What all runs share: task, model, config, numbers of questions and samples.
    """
    done = {name: by_seed for name, by_seed in runs.items() if by_seed}
    present = [arm for arm in arms if arm.name in done]
    origins = {
        arm.name: {**_origin(arm, done[arm.name]), "curves": _curves(list(done[arm.name].values()))}
        for arm in present
    }
    found = estimates(done, present, clusters)
    return {
        "label": label,
        **provenance(),
        **shared,
        **found,
        "arms": [{**origins[arm["arm"]], **arm} for arm in found["arms"]],
        "not_run": [
            {"arm": arm.name, "reason": "no run is complete"} for arm in arms if arm.name not in done
        ],
    }


def estimates(runs: Runs, arms: Sequence[Arm], clusters: Clusters) -> dict[str, Any]:
    """Every mean, interval and p-value of a results.json, from the values of its runs alone.

    Args:
        runs: The values of each run: `evaluations`, `learning` and `signal`.
        arms: The arms that have runs, in the order of the table.
        clusters: The cluster of each question of each split.
    """
    clusters = {**clusters, BOTH: [cluster for split in OWN_SPLITS for cluster in clusters[split]]}
    return {
        "clusters": {split: len({*of_split}) for split, of_split in clusters.items()},
        "gate": gate(runs["base"], clusters["test"]) if "base" in runs else None,
        "arms": [_arm(arm, arms, runs, clusters) for arm in arms],
        "switches": [
            {**change._asdict(), **_effect(pairs, runs, clusters)}
            for change, pairs in repeated_changes(arms).items()
        ],
    }


def references(arms: Sequence[Arm]) -> Sequence[Arm]:
    """The arms that every other one is compared with: all of a few, and of more `REFERENCES` and each arm's own."""
    names = [arm.name for arm in arms]
    wanted = {*REFERENCES, *(reference(name, names) for name in names)}
    return arms if len(arms) <= MOST_COMPARED else [arm for arm in arms if arm.name in wanted]


def reference(arm: str, names: Sequence[str]) -> str:
    """The arm that `arm` is compared with: outcome-only with the same settings, or else the first one."""
    those = [name for name in names if name.startswith(OUTCOME_ONLY)]
    alike = [name for name in those if arm.endswith(name.removeprefix(OUTCOME_ONLY)) and name != arm]
    first = those[0] if those and those[0] != arm else OUTCOME_ONLY
    return max(alike, key=len, default=first)


def against_reference(document: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The reference of each arm that is compared with one, and its difference to it, by arm."""
    names = [arm["arm"] for arm in document["arms"]]
    return {
        arm["arm"]: (other, arm["against"][other])
        for arm in document["arms"]
        for other in [reference(arm["arm"], names)]
        if other in arm["against"]
    }


def gate(base: Mapping[int, Run], clusters: Sequence[Hashable]) -> dict[str, Any]:
    """maj@N minus greedy accuracy of the base model, paired on the test questions, and whether that is enough.

    The low end of its interval must reach `GATE`.
    """
    majority, greedy = (_values(base, "test", name) for name in ("majority", "greedy"))
    headroom = across_questions(majority - greedy, clusters)
    return {"least": GATE, "majority_less_greedy": headroom.as_dict(), "passed": passes(headroom.low)}


def passes(low: float | None) -> bool:
    """Whether the low end of a gain reaches `GATE`; a gain without an interval does not pass.

    Recorded results are judged by this rule, too: some of them stored the verdict of another one.
    """
    return low is not None and low >= GATE


def compared_metric(document: Mapping[str, Any]) -> str:
    """The metric by which a table's arms are compared; the base model of `readings` has no greedy accuracy to gain."""
    return "sampled" if document["task"] == "readings" else "greedy"


def gain_of_truth(document: Mapping[str, Any]) -> float:
    """The gain of true answers over the base model; NaN if they are missing or gain nothing: no share is shown then."""
    gains = [
        arm["against"]["base"][BOTH][compared_metric(document)]["mean"]
        for arm in document["arms"]
        if arm["arm"] == "true-answers" and "base" in arm["against"]
    ]
    return gains[0] if gains and gains[0] > 0 else math.nan


def clusters_of(splits: Mapping[str, Sequence[Asked]]) -> dict[str, list[Hashable]]:
    """The cluster of each question: the numbers that it adds up, or its own index if it adds none."""
    return {
        split: [one.numbers or (split, index) for index, one in enumerate(asked)]
        for split, asked in splits.items()
    }


def _arm(arm: Arm, arms: Sequence[Arm], runs: Runs, clusters: Clusters) -> dict[str, Any]:
    by_seed = runs[arm.name]
    seeds = sorted(by_seed)
    signals = [by_seed[seed]["signal"] for seed in seeds]
    return {
        "arm": arm.name,
        "seeds": seeds,
        **{
            split: {
                name: _estimate(arm, _values(by_seed, split, name), clusters[split]).as_dict()
                for name in METRICS
            }
            for split in _splits(by_seed)
        },
        "against": {
            other.name: against
            for other in references(arms)
            if other != arm
            for against in [_against(arm, other, runs, clusters)]
            if against is not None
        },
        "signal": {name: _signal(signals, name) for name in signals[0] if name != "collapse_update"},
        "collapse_updates": [signal.get("collapse_update") for signal in signals],
        "learning": _learning(runs, arm, arms, clusters["test"]) if arm.trained else {},
    }


def _estimate(arm: Arm, values: Any, clusters: Sequence[Hashable]) -> Estimate:
    """The mean of an arm's values; the seeds of an untrained arm are samples of one model."""
    return (across_seeds if arm.trained else across_questions)(values, clusters)


def _origin(arm: Arm, by_seed: Mapping[int, Run]) -> dict[str, Any]:
    """What identifies an arm and its runs, and the mean time of each part of a run."""
    seeds = sorted(by_seed)
    costs = [by_seed[seed]["core_minutes"] for seed in seeds if "core_minutes" in by_seed[seed]]
    return {
        "arm": arm.name,
        "kind": arm.kind,
        "meaning": arm.meaning,
        "fingerprints": [by_seed[seed]["fingerprint"] for seed in seeds],
        "commits": [by_seed[seed].get("commit") for seed in seeds],
        "recipes": [by_seed[seed]["recipe"] for seed in seeds],
        "seconds": {
            part: round(float(np.mean([by_seed[seed]["seconds"][part] for seed in seeds])), 1)
            for part in by_seed[seeds[0]]["seconds"]
        },
        **({} if not costs else {"core_minutes": round(float(np.mean(costs)), 2)}),
    }


def _against(arm: Arm, other: Arm, runs: Runs, clusters: Clusters) -> dict[str, Any] | None:
    """The difference to another arm in each metric, paired on the questions and on the seeds that both have."""
    ours, theirs = runs[arm.name], runs[other.name]
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    either = arm if arm.trained else other
    return {
        "seeds": seeds,
        "differs_in": differing(arm, other),
        "by_seed": {
            name: [
                round(float(mean), 4) for mean in _difference(ours, theirs, seeds, BOTH, name).mean(axis=1)
            ]
            for name in METRICS
        },
        **{
            split: {
                name: _estimate(
                    either, _difference(ours, theirs, seeds, split, name), clusters[split]
                ).as_dict()
                for name in METRICS
            }
            for split in (*_splits(ours), BOTH)
        },
    }


def _effect(pairs: Sequence[Pair], runs: Runs, clusters: Clusters) -> dict[str, Any]:
    """The mean difference of pairs of arms in each metric, paired on the questions and on the seeds that all have."""
    seeds = sorted(set.intersection(*(set(runs[name]) for pair in pairs for name in pair)))

    def mean(metric: str) -> Any:
        return np.mean(
            [_difference(runs[ours], runs[theirs], seeds, BOTH, metric) for ours, theirs in pairs], axis=0
        )

    return {
        "pairs": [list(pair) for pair in pairs],
        "seeds": seeds,
        BOTH: {name: across_seeds(mean(name), clusters[BOTH]).as_dict() for name in METRICS} if seeds else {},
    }


def _difference(
    ours: Mapping[int, Run], theirs: Mapping[int, Run], seeds: Sequence[int], split: str, name: str
) -> Any:
    """(S, Q): a metric minus that of another arm, for each of `seeds` and each question."""
    mine, other = ({seed: runs[seed] for seed in seeds} for runs in (ours, theirs))
    return _values(mine, split, name) - _values(other, split, name)


def _learning(
    runs: Runs, arm: Arm, arms: Sequence[Arm], clusters: Sequence[Hashable]
) -> dict[str, list[Any]]:
    """Greedy accuracy on the followed questions: of the base model at update 0, at each save, and at the end."""
    learning: dict[str, list[Any]] = {"update": [], "greedy": []}
    for one in (*(each for each in arms if not each.trained), arm):
        courses = [run["learning"] for run in runs[one.name].values()]
        learning["update"] += courses[0]["update"]
        learning["greedy"] += [
            _estimate(one, hits, clusters[: len(hits[0])]).as_dict()
            for hits in zip(*(course["greedy"] for course in courses), strict=True)
        ]
    return learning


def _splits(by_seed: Mapping[int, Run]) -> list[str]:
    """The splits of an arm's runs; all runs of a task have the same."""
    evaluations = next(iter(by_seed.values()))["evaluations"]
    return [split for split in (*OWN_SPLITS, *FOREIGN_SPLITS) if split in evaluations]


def _values(by_seed: Mapping[int, Run], split: str, name: str) -> Any:
    """(S, Q): a metric for each seed, in order, and each question, with the decimals that are kept of it."""
    splits = OWN_SPLITS if split == BOTH else (split,)
    values = [
        [value for each in splits for value in by_seed[seed]["evaluations"][each][name]]
        for seed in sorted(by_seed)
    ]
    return np.round(np.array(values, dtype=np.float64), DECIMALS)


def _signal(signals: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    """The mean of a figure over the seeds that have it, with its interval if there are enough; or None."""
    known = [signal[name] for signal in signals if signal.get(name) is not None]
    if not known:
        return None
    return {**across_seeds(np.array(known)[:, None]).as_dict(), "seeds": len(known)}


def _curves(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """The mean over seeds of each curve, rounded to three digits; None where a seed has no value."""
    curves: list[Mapping[str, Sequence[float | None]]] = [run["curves"] for run in runs]
    if not curves[0]:
        return {}
    return {
        name: [
            None if any(value is None for value in values) else round(float(np.mean(values)), 3)
            for values in zip(*(curve[name] for curve in curves), strict=True)
        ]
        for name in curves[0]
    }
