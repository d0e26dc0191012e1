"""The generated parts of docs/replication.md: five sentences, eight rows, and what held of the paper."""

import math
from collections.abc import Mapping
from typing import Any

from replication.cost import core_minutes
from replication.forest import ROWS
from replication.recorded import Document
from replication.results import BOTH, OUTCOME_ONLY, OWN_SPLITS, gain_of_truth
from replication.studies import TABLE_AND_STUDIES
from replication.table import cell, corrected, markdown_table, p_value, seeds_of

SUMS = "sums"
ESTIMATORS = "estimators"
CONTROL = "readings-early"
VIEWS = "views"
"""Tables by the folder that holds them; `sums` is the main one."""

_PUBLISHED = "moving-baseline"
"""The end of the names of the arms under the published estimator."""
_ESTIMATOR = "the published estimator (EvoLMM's REINFORCE with moving baselines)"


def parts(documents: Mapping[str, Document]) -> dict[str, str]:
    """Each generated part of the page, by its name.

    Args:
        documents: The tables, as they are shown, by folder; `sums` for the main one.
    """
    return {
        "sentences": sentences(documents),
        "rows": rows(documents[SUMS]),
        "claims": claims(documents),
    }


def sentences(documents: Mapping[str, Document]) -> str:
    """What was found, in five sentences."""
    found = (
        _agreement(documents[SUMS]),
        _steps(documents),
        _estimator(documents[ESTIMATORS]),
        _views(documents[VIEWS]),
        _defects(documents[SUMS]),
    )
    return "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(found, start=1))


def headline(documents: Mapping[str, Document]) -> str:
    """The sentence of the README."""
    document = documents[ESTIMATORS]
    step = _published(document, "full")
    views = difference(documents[VIEWS], "views-cross", OUTCOME_ONLY)
    return (
        f"Under {_ESTIMATOR}, {_gain_by_split(document)}. Adding the paper's step agreement {_verb(step)} it: "
        f"{_shown(step)}. No vote among rollouts finds an error that all of them share. On a task with such errors, "
        f"rewarding by the votes of [other views](docs/views.md) of the question {_verb(views)} greedy accuracy: "
        f"{_shown(views)} against votes on one prompt."
    )


def rows(document: Document) -> str:
    """The eight rows: gain over the base model, share of what true answers give, single seeds, and cost."""
    by_name = {arm["arm"]: arm for arm in document["arms"]}
    of_all = corrected(document)
    body = []
    for name in ROWS:
        if name not in by_name:
            continue
        arm = by_name[name]
        pair, other = arm["against"].get("base"), arm["against"].get(OUTCOME_ONLY)
        gain = pair and pair[BOTH]["greedy"]
        body.append(
            [
                f"`{name}`",
                meaning(arm),
                seeds_of(arm),
                cell(gain, sign=True),
                _share(gain["mean"] if gain else 0.0, document),
                " ".join(f"{value:+.2f}" for value in pair.get("by_seed", {}).get("greedy", ()))
                if pair
                else "",
                cell(other and other[BOTH]["greedy"], sign=True),
                p_value(other and other[BOTH]["greedy"]["p"], document),
                p_value(of_all.get(name), document),
                f"{core_minutes(document, arm):.1f}",
            ]
        )
    head = [
        *("arm", "paid for", "seeds", "gain over base", "of truth's gain", "gain by seed"),
        *("less outcome-only", "p", f"p for all {len(of_all)}", "core-minutes"),
    ]
    if not any(line[5] for line in body):
        head, *body = ([*line[:5], *line[6:]] for line in (head, *body))
    return markdown_table(head, body)


def claims(documents: Mapping[str, Document]) -> str:
    """What held of the paper."""
    sums = documents[SUMS]
    step = difference(sums, "full", OUTCOME_ONLY)
    parts = {name: difference(sums, name, "full") for name in _ABLATIONS}
    curves = {arm["arm"]: arm["curves"]["pseudo_label_accuracy"] for arm in sums["arms"] if arm["curves"]}
    first, last = _ends(curves["full"])
    body = [
        [
            "a model learns from agreeing with itself",
            f"{_shown(difference(sums, OUTCOME_ONLY, 'base'))} over the base model",
        ],
        ["step agreement adds to agreement on answers", f"{_shown(step)} against `outcome-only`"],
        ["steps alone are worst of all", f"{_shown(difference(sums, 'step-only', 'full'))} against `full`"],
        [
            "warm-up, position decay and density weight each help",
            "without them " + ", ".join(_shown(found) for found in parts.values()) + " against `full`",
        ],
        [
            "true pseudo-labels rise from 0.76 to 0.93",
            f"true pseudo-labels: {first:.2f} in the first quarter of the updates, {last:.2f} in the last",
        ],
        [
            "a trained Proposer keeps questions useful",
            f"a frozen one is {_shown(difference(sums, 'frozen-proposer', 'full'))} against `full`",
        ],
    ]
    return markdown_table(
        ["the paper's claim", "here, on `sums`; greedy accuracy unless it says otherwise"], body
    )


_ABLATIONS = ("no-warm-up", "no-position-decay", "no-density-weight")


def difference(
    document: Document, arm: str, other: str, metric: str = "greedy", split: str = BOTH
) -> Mapping[str, Any]:
    """The difference of two arms, pooled over both splits unless one is named."""
    [found] = [one["against"][other][split][metric] for one in document["arms"] if one["arm"] == arm]
    return dict(found)


def meaning(arm: Mapping[str, Any]) -> str:
    """What an arm is paid for, in today's words: what a preset was when its runs were made may have changed since."""
    known = TABLE_AND_STUDIES.get(arm["arm"])
    return known.meaning if known else str(arm["meaning"])


def _agreement(document: Document) -> str:
    gain = difference(document, OUTCOME_ONLY, "base")
    share = _share(gain["mean"], document)
    return (
        f"Training on agreement among answers {_verb(gain)} greedy accuracy without a label: {_shown(gain)} over the "
        f"untrained model ({_chance(document)}){share and f', {share} of what true answers give'}; random rewards give "
        f"{_shown(difference(document, 'random', 'base'))}."
    )


def _steps(documents: Mapping[str, Document]) -> str:
    step = difference(documents[SUMS], "full", OUTCOME_ONLY)
    control, group = (
        difference(documents[CONTROL], f"{name}-early", f"{OUTCOME_ONLY}-early", "sampled")
        for name in ("full", "step-only-group")
    )
    return (
        f"Adding the paper's step agreement {_verb(step)} it: {_shown(step)}. On `readings`, a task made so that steps "
        f"should help, it {_verb(control)} the accuracy of a sample after half of the updates ({_shown(control)}), "
        f"while agreement with the steps of the whole group {_verb(group)} it ({_shown(group)})."
    )


def _published(
    document: Document, arm: str, other: str | None = None, metric: str = "greedy", split: str = BOTH
) -> Mapping[str, Any]:
    """The difference of an arm under the published estimator to `other`, or else to agreement on answers under it."""
    return difference(document, f"{arm}-{_PUBLISHED}", other or f"{OUTCOME_ONLY}-{_PUBLISHED}", metric, split)


def _estimator(document: Document) -> str:
    step = _published(document, "full", metric="sampled")
    constant = _published(document, "constant-step-agreement", metric="sampled")
    return (
        f"Under {_ESTIMATOR}, {_gain_by_split(document)}. Step agreement {_verb(step)} the accuracy of a sample "
        f"({_shown(step)}); paid to the whole majority alike, it {_verb(constant)} it ({_shown(constant)})."
    )


def _gain_by_split(document: Document) -> str:
    """What agreement on answers gains over the base model under the published estimator, in words."""
    usual, new = (_published(document, OUTCOME_ONLY, "base", split=split) for split in OWN_SPLITS)
    return (
        f"agreement on answers {_verb(usual)} greedy accuracy without a label by {_shown(usual)}, and {_verb(new)} it "
        f"on combinations of digits that no training image has ({_shown(new)})"
    )


def _views(document: Document) -> str:
    alone, cross = (difference(document, name, "base") for name in (OUTCOME_ONLY, "views-cross"))
    over = difference(document, "views-cross", OUTCOME_ONLY)
    share = _share(cross["mean"], document)
    return (
        "By construction, a vote over one prompt cannot find an error that all paths share: on `one-path`, where they "
        f"do, it {_verb(alone)} greedy accuracy ({_shown(alone)}). Voting across other views of the question "
        f"{_verb(over)} it over that: {_shown(over)}"
        f"{share and f'; over the untrained model it gives {share} of what true answers give'}."
    )


def _defects(document: Document) -> str:
    loss = difference(document, "reference-faithful", "base")
    return (
        f"The paper's rewards with the released code's defects end {_shown(loss)} against the untrained model. All "
        "this is about tiny models, and nothing here was run on a large one."
    )


def _verb(found: Mapping[str, Any]) -> str:
    """What an interval says about accuracy."""
    if found["low"] is None:
        return "seems to raise" if found["mean"] > 0 else "does not seem to raise"
    if found["low"] > 0:
        return "raises"
    return "lowers" if found["high"] < 0 else "does not measurably change"


def _shown(found: Mapping[str, Any]) -> str:
    return cell(found, sign=True) + (" (too few seeds for an interval)" if found["low"] is None else "")


def _share(gain: float, document: Document) -> str:
    """A gain over the base model as a share of that of true answers; empty if those are missing or gain nothing."""
    truth = gain_of_truth(document)
    return "" if math.isnan(truth) else f"{gain / truth:.0%}"


def _chance(document: Document) -> str:
    """The p-values of agreement against the base model: alone, and corrected as in the table of the arms."""
    alone, of_all = difference(document, "base", OUTCOME_ONLY)["p"], corrected(document)
    if alone is None:
        return "too few seeds for a p-value"
    return (
        f"p {p_value(alone, document)} alone, {p_value(of_all['base'], document)} corrected for "
        f"{len(of_all)} comparisons"
    )


def _ends(curve: Any) -> tuple[float, float]:
    """The mean of a curve's first quarter and of its last."""
    known = [value for value in curve if value is not None]
    quarter = max(1, len(known) // 4)
    return sum(known[:quarter]) / quarter, sum(known[-quarter:]) / quarter
