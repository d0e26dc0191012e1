"""The results as tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.results import BOTH, LEAST_SEEDS
from replication.rows import REFERENCES

_TITLES = {
    "test": "on the test",
    "held_out_combinations": "on held-out combinations",
    "easy_vqa": "on easy-vqa",
}
_EXAM_COLUMNS = (
    ("greedy", "greedy"),
    ("sample", "sampled"),
    ("maj@{n}", "majority"),
    ("pass@{n}", "passed"),
)
_SOUND_COLUMNS = (("right, by true steps", "sound"), ("greedy, by true steps", "greedy_sound"))
_REASONING_COLUMNS = (
    ("true steps", "true_steps"),
    ("gold steps", "gold_steps"),
    *_SOUND_COLUMNS,
    ("orders", "orders"),
    ("entropy, nats", "entropy_nats"),
)
_SIGNAL_COLUMNS = (
    ("pseudo-labels true", "pseudo_label_accuracy"),
    ("reward and correctness", "reward_rank_correlation"),
    ("the same, late", "reward_rank_correlation_late"),
    ("lucky", "lucky_share"),
    ("reward and sound steps", "reward_soundness_correlation"),
    ("step reward and sound steps", "step_reward_correlation"),
    ("true from wrong steps", "step_separation"),
    ("answer entropy, nats", "answer_entropy_nats"),
    ("dominant share", "dominant_share"),
    ("distinct questions", "questions_distinct"),
    ("steps", "steps"),
)


def tables(document: Mapping[str, Any]) -> str:
    """All tables of a results.json."""
    rows, samples = document["rows"], document["samples"]
    parts = [_heading(document)]
    titles = {exam: title for exam, title in _TITLES.items() if any(exam in row for row in rows)}
    for exam, title in titles.items():
        head = ["row", "seeds", *(name.format(n=samples) for name, _ in _EXAM_COLUMNS)]
        head += [name for name, _ in _REASONING_COLUMNS]
        keys = [key for _, key in (*_EXAM_COLUMNS, *_REASONING_COLUMNS)]
        body = [[row["row"], str(len(row["seeds"])), *(cell(row[exam][key]) for key in keys)] for row in rows]
        parts.append(f"## {title[0].upper()}{title[1:]}\n\n{markdown_table(head, body)}")
    for exam, title in (*titles.items(), (BOTH, "on both")):
        parts.append(f"## Greedy accuracy less another row's, paired: {title}\n\n{_gains(rows, exam)}")
    parts.append(f"## Less `outcome-only`, paired, on both\n\n{_less_outcome_only(rows, samples)}")
    if any(switch["seeds"] for switch in document["switches"]):
        parts.append(
            f"## A switch, over the rows that differ in it alone, on both\n\n{_switches(document, samples)}"
        )
    head = ["row", *(name for name, _ in _SIGNAL_COLUMNS), "onset of collapse"]
    body = [
        [row["row"], *(cell(row["signal"].get(key)) for _, key in _SIGNAL_COLUMNS), _collapse(row)]
        for row in rows
        if row["signal"]
    ]
    parts.append(f"## Signal\n\n{markdown_table(head, body)}")
    if document["not_run"]:
        missing = "\n".join(f"- `{one['row']}`: {one['reason']}" for one in document["not_run"])
        parts.append(f"## Not run\n\n{missing}")
    return "\n\n".join(parts) + "\n"


def summary(document: Mapping[str, Any]) -> str:
    """The rows of a results.json in one table: accuracy on the test, and less outcome-only's, paired, on both."""
    samples = document["samples"]
    absolute = (("greedy", "greedy"), ("maj@{n}", "majority"))
    paired = (*absolute, ("right, by true steps", "sound"))
    head = ["row", "seeds", *(name.format(n=samples) for name, _ in absolute)]
    head += [f"{name.format(n=samples)}, less outcome-only" for name, _ in paired]
    body = []
    for row in document["rows"]:
        against = row["against"].get("outcome-only")
        body.append(
            [
                row["row"],
                str(len(row["seeds"])),
                *(cell(row["test"][key]) for _, key in absolute),
                *(cell(against and against[BOTH][key], sign=True) for _, key in paired),
            ]
        )
    return markdown_table(head, body)


def _heading(document: Mapping[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    lines = [
        f"# {document['label']}",
        "",
        f"Commit `{document['commit'][:12]}`{', changed since' if document['commit'].endswith('+') else ''}. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        f"Task `{document['task']}`, base model `{document['model']}`: "
        f"{document['questions']} questions, {document['samples']} samples each; "
        "95% bootstrap intervals over seeds and questions; questions that add up the same numbers are drawn together. "
        "Those of signals are over seeds alone, and of three or more.",
    ]
    few = [row["row"] for row in document["rows"] if len(row["seeds"]) < LEAST_SEEDS]
    if few:
        told = f"Fewer than {LEAST_SEEDS} seeds, whose intervals say next to nothing of how runs differ: "
        lines += ["", f"{told}{', '.join(few)}."]
    if document["gate"] is not None:
        gate = document["gate"]
        verdict = "passed" if gate["passed"] else "NOT passed: there is nothing to climb"
        headroom = cell(gate["majority_less_greedy"])
        lines += ["", f"Gate: maj@N less greedy of the base model is {headroom}, at least {gate['least']:.2f} is asked: {verdict}."]  # fmt: skip # noqa: E501
    return "\n".join(lines)


def _gains(rows: Sequence[Mapping[str, Any]], exam: str) -> str:
    references = [name for name in REFERENCES if any(name in row["against"] for row in rows)]
    body = [
        [
            row["row"],
            *(
                cell(row["against"][name][exam]["greedy"], sign=True) if name in row["against"] else ""
                for name in references
            ),
        ]
        for row in rows
    ]
    return markdown_table(["row", *(f"less {name}" for name in references)], body)


def _less_outcome_only(rows: Sequence[Mapping[str, Any]], samples: int) -> str:
    columns = (*_EXAM_COLUMNS, *_SOUND_COLUMNS)
    body = [
        [
            row["row"],
            *(cell(row["against"]["outcome-only"][BOTH][key], sign=True) for _, key in columns),
        ]
        for row in rows
        if "outcome-only" in row["against"]
    ]
    return markdown_table(["row", *(name.format(n=samples) for name, _ in columns)], body)


def _switches(document: Mapping[str, Any], samples: int) -> str:
    columns = (*_EXAM_COLUMNS, *_SOUND_COLUMNS)
    body = [
        [
            f"`{one['switch']}` {one['low']:g} to {one['high']:g}",
            ", ".join(f"{ours} less {theirs}" for ours, theirs in one["pairs"]),
            str(len(one["seeds"])),
            *(cell(one[BOTH][key], sign=True) for _, key in columns),
        ]
        for one in document["switches"]
        if one["seeds"]
    ]
    head = ["switch", "mean of", "seeds", *(name.format(n=samples) for name, _ in columns)]
    return markdown_table(head, body)


def _collapse(row: Mapping[str, Any]) -> str:
    marks = [f"{update:.0f}" for update in row["collapse_updates"] if update is not None]
    return f"update {', '.join(marks)} ({len(marks)} of {len(row['seeds'])})" if marks else "none"


def cell(found: Mapping[str, Any] | None, *, sign: bool = False) -> str:
    """A mean with its interval, where it has one; nothing of none."""
    if found is None:
        return ""
    mean = f"{found['mean']:+.3f}" if sign else f"{found['mean']:.3f}"
    return mean if found["low"] is None else f"{mean} [{found['low']:.3f}, {found['high']:.3f}]"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
