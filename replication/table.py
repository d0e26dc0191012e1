"""The results as tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.arms import REFERENCES
from replication.intervals import LEAST_SEEDS, holm
from replication.recorded import Document
from replication.results import BOTH, OUTCOME_ONLY, against_reference, passes
from replication.values import VALUES

_TITLES = {
    "test": "test questions",
    "held_out_combinations": "held-out combinations",
    "easy_vqa": "easy-vqa",
}
_ACCURACY_COLUMNS = (
    ("greedy", "greedy"),
    ("avg@{n}", "sampled"),
    ("maj@{n}", "majority"),
    ("pass@{n}", "passed"),
)
_TESTED = _ACCURACY_COLUMNS[:2]
"""The columns whose differences have p-values, each corrected for the number of arms, not for both columns."""
_SOUND_COLUMNS = (
    ("right by a right derivation", "sound"),
    ("greedy by a right derivation", "greedy_sound"),
)
_RECORDED_NAMES = {"sound": "right, all steps true", "greedy_sound": "greedy, all steps true"}
"""What these columns held in results without values: any true steps, not a whole right derivation."""
_REASONING_COLUMNS = (
    ("true steps", "true_steps"),
    ("gold steps", "gold_steps"),
    *_SOUND_COLUMNS,
    ("orders", "orders"),
    ("entropy, nats", "entropy_nats"),
)
_SIGNAL_COLUMNS = (
    ("pseudo-labels true", "pseudo_label_accuracy"),
    ("reward vs correctness", "reward_rank_correlation"),
    ("reward vs correctness, late", "reward_rank_correlation_late"),
    ("lucky", "lucky_share"),
    ("reward vs sound steps", "reward_soundness_correlation"),
    ("step reward vs sound steps", "step_reward_correlation"),
    ("true vs wrong additions", "step_separation"),
    ("answer entropy, nats", "answer_entropy_nats"),
    ("dominant share", "dominant_share"),
    ("distinct questions", "questions_distinct"),
    ("steps", "steps"),
)

_INTERVALS = (
    "Brackets hold 95% t-intervals across seeds and questions; questions that add up the same numbers count as one. "
    "The base model is one model, so its intervals are across questions alone. Those of the signal are across seeds "
    "alone."
)

Arms = Sequence[Mapping[str, Any]]
"""The arms of a results.json."""


def tables(document: Document) -> str:
    """All tables of a results.json."""
    arms = document["arms"]
    titles = {split: title for split, title in _TITLES.items() if any(split in arm for arm in arms)}
    parts = [_heading(document)]
    parts += [f"## {_capital(title)}\n\n{_metrics(document, split)}" for split, title in titles.items()]
    for split, title in (*titles.items(), (BOTH, "test questions and held-out combinations")):
        parts.append(f"## Paired difference in greedy accuracy: {title}\n\n{_gains(document, split)}")
    parts.append(
        f"## Paired difference to {_references(document)}, test questions and held-out combinations\n\n"
        f"{_less_reference(document)}"
    )
    if any(switch["seeds"] for switch in document["switches"]):
        parts.append(
            "## Effect of a switch: mean over the pairs of arms that differ in it alone\n\n"
            f"{_switches(document)}"
        )
    parts.append(f"## Signal in training\n\n{_signal(arms)}")
    if document["not_run"]:
        missing = "\n".join(f"- `{one['arm']}`: {one['reason']}" for one in document["not_run"])
        parts.append(f"## Not run\n\n{missing}")
    return "\n\n".join(parts) + "\n"


def summary(document: Document) -> str:
    """The arms of a results.json in one table.

    It has the accuracy on the test questions, and the paired difference on both splits to outcome-only (under the same
    estimator).
    """
    absolute = _ACCURACY_COLUMNS[:3]
    paired = (*absolute, _SOUND_COLUMNS[0])
    head = ["arm", "seeds", *_names(absolute, document)]
    head += [f"{name} vs outcome-only" for name in _names(paired, document)]
    body, differences = [], against_reference(document)
    for arm in document["arms"]:
        _, against = differences.get(arm["arm"], ("", None))
        body.append(
            [
                arm["arm"],
                seeds_of(arm),
                *(cell(arm["test"][key]) for _, key in absolute),
                *(cell(against and against[BOTH][key], sign=True) for _, key in paired),
            ]
        )
    return markdown_table(head, body)


def cell(found: Mapping[str, Any] | None, *, sign: bool = False) -> str:
    """A mean with its interval, if it has one; empty for None."""
    if found is None:
        return ""
    mean = f"{found['mean']:+.3f}" if sign else f"{found['mean']:.3f}"
    return mean if found["low"] is None else f"{mean} [{found['low']:.3f}, {found['high']:.3f}]"


def seeds_of(arm: Mapping[str, Any]) -> str:
    """The number of an arm's seeds, to read; an untrained arm is one model, however often it was sampled."""
    return str(len(arm["seeds"])) if arm["curves"] else "one model"


def corrected(document: Document, metric: str = "greedy") -> dict[str, float]:
    """The p-value of each arm's difference to its reference on both splits together, corrected for their number (Holm).

    Every arm with a p-value counts: the base model, and arms whose runs repeat another's. This errs on the safe side.
    """
    found = {name: pair[BOTH][metric].get("p") for name, (_, pair) in against_reference(document).items()}
    known = {name: p for name, p in found.items() if p is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def p_value(p: float | None, document: Document) -> str:
    """A p-value to read, an upper bound where the values were not kept; empty for None."""
    if p is None:
        return ""
    if p < 0.001:
        return "<0.001"
    return f"{'≤ ' if 'without' in document and p < 1 else ''}{p:.3f}"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _heading(document: Document) -> str:
    machine, versions = document["machine"], document["versions"]
    lines = [
        f"# {document['label']}",
        "",
        "Written, not necessarily run, at commit "
        f"`{document['commit'][:12]}`{', with later changes' if document['commit'].endswith('+') else ''}, on: "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ". [results.json](results.json) has the commits of the runs of each arm.",
        "",
        f"Task `{document['task']}`, base model `{document['model']}`: "
        f"{document['questions']} questions, {document['samples']} samples each. {_INTERVALS} {_source(document)}",
    ]
    few = [arm["arm"] for arm in document["arms"] if len(arm["seeds"]) < LEAST_SEEDS and arm["curves"]]
    if few:
        lines += ["", f"No interval with fewer than {LEAST_SEEDS} seeds: {', '.join(few)}."]
    if document["gate"] is not None:
        lines += ["", _gate(document["gate"])]
    return "\n".join(lines)


def _source(document: Document) -> str:
    if "without" in document:
        return (
            "These runs kept no values, so their intervals cannot be computed again: recorded bootstrap intervals are "
            "widened to t-intervals, and p-values are upper bounds."
        )
    return f"Every figure follows from [{VALUES}]({VALUES})."


def _gate(gate: Mapping[str, Any]) -> str:
    headroom = gate["majority_less_greedy"]
    verdict = "passed" if passes(headroom["low"]) else "NOT passed, there is little to learn from agreement"
    return (
        f"Gate: maj@N of the base model exceeds its greedy accuracy by {cell(headroom)}; "
        f"the low end must reach {gate['least']:.2f}: {verdict}."
    )


def _metrics(document: Document, split: str) -> str:
    arms = document["arms"]
    columns = (*_ACCURACY_COLUMNS, *_REASONING_COLUMNS)
    head = ["arm", "seeds", *_names(columns, document)]
    body = [[arm["arm"], seeds_of(arm), *(cell(arm[split][key]) for _, key in columns)] for arm in arms]
    return markdown_table(head, body)


def _gains(document: Document, split: str) -> str:
    arms = document["arms"]
    own = (other for other, _ in against_reference(document).values())
    references = [
        name
        for name in dict.fromkeys((REFERENCES[0], *own, *REFERENCES))
        if any(name in arm["against"] for arm in arms)
    ]
    body = [
        [
            arm["arm"],
            *(
                cell(arm["against"][name][split]["greedy"], sign=True) if name in arm["against"] else ""
                for name in references
            ),
        ]
        for arm in arms
    ]
    return markdown_table(["arm", *(f"vs {name}" for name in references)], body)


def _references(document: Document) -> str:
    """The arms that others are compared with, to read."""
    names = dict.fromkeys(other for other, _ in against_reference(document).values())
    return " or ".join(f"`{name}`" for name in names or (OUTCOME_ONLY,))


def _less_reference(document: Document) -> str:
    columns = (*_ACCURACY_COLUMNS, *_SOUND_COLUMNS)
    of_all = {metric: corrected(document, metric) for _, metric in _TESTED}
    pairs = against_reference(document)
    several = len({other for other, _ in pairs.values()}) > 1
    knows_settings = any("differs_in" in pair for _, pair in pairs.values())
    body = [
        [
            name,
            *([other] if several else []),
            *([", ".join(pair["differs_in"])] if knows_settings else []),
            *(cell(pair[BOTH][key], sign=True) for _, key in columns),
            *(
                p_value(p, document)
                for metric, of_each in of_all.items()
                if of_each
                for p in (pair[BOTH][metric].get("p"), of_each.get(name))
            ),
        ]
        for name, (other, pair) in pairs.items()
    ]
    head = ["arm", *(["minus"] if several else []), *(["differs in"] if knows_settings else [])]
    head += _names(columns, document)
    for (_, metric), title in zip(_TESTED, _names(_TESTED, document), strict=True):
        if of_all[metric]:
            head += [f"p, {title}", f"p, {title}, for all {len(of_all[metric])} (Holm)"]
    return markdown_table(head, body)


def _switches(document: Document) -> str:
    columns = (*_ACCURACY_COLUMNS, *_SOUND_COLUMNS)
    body = [
        [
            f"`{one['switch']}` {one['low']:g} to {one['high']:g}",
            ", ".join(f"{ours} vs {theirs}" for ours, theirs in one["pairs"]),
            str(len(one["seeds"])),
            *(cell(one[BOTH][key], sign=True) for _, key in columns),
        ]
        for one in document["switches"]
        if one["seeds"]
    ]
    head = ["switch", "pairs", "seeds", *_names(columns, document)]
    return markdown_table(head, body)


def _signal(arms: Arms) -> str:
    head = ["arm", *(name for name, _ in _SIGNAL_COLUMNS), "onset of collapse"]
    body = [
        [arm["arm"], *(cell(arm["signal"].get(key)) for _, key in _SIGNAL_COLUMNS), _collapse(arm)]
        for arm in arms
        if arm["signal"]
    ]
    return markdown_table(head, body)


def _collapse(arm: Mapping[str, Any]) -> str:
    marks = [f"{update:.0f}" for update in arm["collapse_updates"] if update is not None]
    return f"update {', '.join(marks)} ({len(marks)} of {len(arm['seeds'])})" if marks else "none"


def _names(columns: Sequence[tuple[str, str]], document: Document) -> list[str]:
    """The heads of columns of metrics."""
    known = _RECORDED_NAMES if "without" in document else {}
    return [known.get(metric, name).format(n=document["samples"]) for name, metric in columns]


def _capital(title: str) -> str:
    return f"{title[0].upper()}{title[1:]}"
