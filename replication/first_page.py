"""The generated parts of docs/replication.md: five sentences, eight rows, and what held of the paper."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from replication.cost import core_minutes
from replication.forest import ROWS
from replication.recorded import Document
from replication.results import BOTH, OUTCOME_ONLY, OWN_SPLITS, gain_of_truth
from replication.studies import TABLE_AND_STUDIES
from replication.table import cell, corrected, markdown_table, p_value, seeds_of

PAPER = "paper"
SUMS = "sums"
ESTIMATORS = "estimators"
CONTROL = "readings"
HALFWAY = "readings-early"
VIEWS = "views"
SECOND_MODEL = "second-model"
"""Tables by the folder that holds them; `sums` is the older one, of `make replicate`, in no folder of its own."""

_PUBLISHED = "moving-baseline"
"""The end of the names of the arms under the published estimator."""
_ESTIMATOR = "a moving baseline, as in the published estimator (EvoLMM's REINFORCE)"


def parts(documents: Mapping[str, Document]) -> dict[str, str]:
    """Each generated part of the page, by its name.

    Args:
        documents: The tables, as they are shown, by folder.
    """
    return {
        "sentences": sentences(documents),
        "rows": rows(documents[PAPER]),
        "claims": claims(documents),
    }


def sentences(documents: Mapping[str, Document]) -> str:
    """What was found, in five paragraphs."""
    found = (
        _agreement(documents[PAPER], documents[ESTIMATORS]),
        _steps(documents[PAPER], documents[ESTIMATORS]),
        _control(documents[CONTROL], documents[HALFWAY]),
        _views(documents[VIEWS], [documents[name] for name in documents if name.startswith(f"{VIEWS}/")]),
        _defects(documents[PAPER], documents[SECOND_MODEL]),
    )
    return "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(found, start=1))


def headline(documents: Mapping[str, Document]) -> str:
    """The sentence of the README."""
    document = documents[ESTIMATORS]
    gain, step = _published(document, OUTCOME_ONLY, "base"), _published(document, "full")
    new = _published(document, OUTCOME_ONLY, "base", split=OWN_SPLITS[1])
    views = difference(documents[VIEWS], "views-cross", OUTCOME_ONLY)
    return (
        f"Under {_ESTIMATOR}, agreement on answers {_verb(gain)} greedy accuracy without a label by {_shown(gain)}; "
        f"on combinations of digits that no training image has it {_verb(new)} it ({_shown(new)}). Adding the "
        f"paper's step agreement {_verb(step)} it: {_shown(step)}. No vote among rollouts finds an error that all of "
        "them share. On a task with such errors, rewarding by the votes of [other views](docs/views.md) of the "
        f"question, made for this task, {_verb(views)} greedy accuracy: {_shown(views)} against votes on one prompt."
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
                _share(0.0 if name == "base" else gain and gain["mean"], document),
                " ".join(f"{value:+.2f}" for value in pair["by_seed"]["greedy"]) if pair else "",
                cell(other and other[BOTH]["greedy"], sign=True),
                p_value(other and other[BOTH]["greedy"]["p"], document),
                p_value(of_all.get(name), document),
                f"{core_minutes(arm):.1f}",
            ]
        )
    head = [
        *("arm", "paid for", "seeds", "gain over base", "of truth's gain", "gain by seed"),
        *("minus outcome-only", "p", f"p for all {len(of_all)}", "core-minutes"),
    ]
    return markdown_table(head, body)


def claims(documents: Mapping[str, Document]) -> str:
    """What held of the paper."""
    paper = documents[PAPER]
    gain, under = (
        difference(paper, OUTCOME_ONLY, "base"),
        _published(documents[ESTIMATORS], OUTCOME_ONLY, "base"),
    )
    step = difference(paper, "full", OUTCOME_ONLY)
    newest = documents[PAPER if any(arm["arm"] == _ABLATIONS[0] for arm in paper["arms"]) else SUMS]
    older = "" if newest is paper else ", older table"
    alone, frozen = (difference(newest, name, "full") for name in ("step-only", "frozen-proposer"))
    without = [difference(newest, name, "full") for name in _ABLATIONS]
    curves = {arm["arm"]: arm["curves"]["pseudo_label_accuracy"] for arm in paper["arms"] if arm["curves"]}
    first, last = _ends(curves["full"])
    body = [
        [
            "a model learns from agreeing with itself",
            f"{_shown(gain)} over the base model; under the moving baseline {_shown(under)}",
            f"{_verdict(gain)}; {_verdict(under)}",
        ],
        [
            "step agreement adds to agreement on answers",
            f"{_shown(step)} against `outcome-only`",
            _verdict(step),
        ],
        ["steps alone are worse than the mix", f"{_shown(alone)} against `full`{older}", _verdict(alone, -1)],
        [
            "warm-up, position decay and density weight each help",
            "without them " + ", ".join(_shown(found) for found in without) + f" against `full`{older}",
            ", ".join(_verdict(found, -1) for found in without),
        ],
        [
            "true pseudo-labels rise from 0.76 to 0.93",
            f"true pseudo-labels: {first:.2f} in the first quarter of the updates, {last:.2f} in the last",
            "no interval",
        ],
        [
            "a Proposer that is trained, too, helps",
            f"a frozen one, with 72 updates of the Solver instead of 64, is {_shown(frozen)} against `full`"
            f"{older}",
            _verdict(frozen, -1),
        ],
    ]
    return markdown_table(
        ["the paper's claim", "here, on `sums`; greedy accuracy unless it says otherwise", "holds?"], body
    )


_ABLATIONS = ("no-warm-up", "no-position-decay", "no-density-weight")


def difference(
    document: Document, arm: str, other: str, metric: str = "greedy", split: str = BOTH
) -> Mapping[str, Any]:
    """The difference of two arms, pooled over both splits unless one is named."""
    of_arm: Mapping[str, Any] = next((one["against"] for one in document["arms"] if one["arm"] == arm), {})
    if other not in of_arm:
        raise ValueError(f"the table of {document['task']} does not compare {arm} with {other}")
    return dict(of_arm[other][split][metric])


def meaning(arm: Mapping[str, Any]) -> str:
    """What an arm is paid for, in today's words: what a preset was when its runs were made may have changed since."""
    known = TABLE_AND_STUDIES.get(arm["arm"])
    return known.meaning if known else str(arm["meaning"])


def _agreement(paper: Document, estimators: Document) -> str:
    gain, of_table = _published(estimators, OUTCOME_ONLY, "base"), difference(paper, OUTCOME_ONLY, "base")
    usual, new = (_published(estimators, OUTCOME_ONLY, "base", split=split) for split in OWN_SPLITS)
    under = _chance(estimators, f"{OUTCOME_ONLY}-{_PUBLISHED}")
    return (
        f"Training on agreement among answers {_verb(gain)} greedy accuracy without a label: under {_ESTIMATOR}, by "
        f"{_shown(gain)} over the untrained model ({under}). It {_verb(usual)} it on the usual questions "
        f"({_shown(usual)}) and {_verb(new)} it on combinations of digits that no training image has "
        f"({_shown(new)}). In the table below, with group-normalised advantages, the gain is "
        f"{_shown(of_table)} ({_chance(paper, OUTCOME_ONLY)}); random rewards give "
        f"{_shown(difference(paper, 'random', 'base'))}."
    )


def _steps(paper: Document, estimators: Document) -> str:
    pooled = _published(estimators, "full", metric="sampled")
    of_all = corrected(estimators, "sampled")[f"full-{_PUBLISHED}"]
    usual, constant = (
        _published(estimators, name, metric="sampled", split=OWN_SPLITS[0])
        for name in ("full", "constant-step-agreement")
    )
    apart = _published(
        estimators, "full", f"constant-step-agreement-{_PUBLISHED}", metric="sampled", split=OWN_SPLITS[0]
    )
    added = difference(paper, "full", OUTCOME_ONLY)
    return (
        f"Adding the paper's step agreement {_verb(added)} greedy accuracy: {_shown(added)}. Under the moving "
        f"baseline it {_verb(pooled)} the accuracy of a sample ({_shown(pooled)}, p {p_value(of_all, estimators)} "
        f"corrected). On the usual questions alone, uncorrected, it {_verb(usual)} it ({_shown(usual)}); a step reward "
        f"that is the same for the whole majority {_verb(constant)} it there ({_shown(constant)}), and the two differ "
        f"by {_shown(apart)}."
    )


def _control(whole: Document, halfway: Document) -> str:
    end = difference(whole, "full", OUTCOME_ONLY, "sampled")
    added = difference(halfway, "full-early", f"{OUTCOME_ONLY}-early", "sampled")
    group = difference(halfway, "step-only-group-early", "step-only-early", "sampled")
    return (
        f"On `readings`, a task made so that steps should help, step agreement {_verb(end)} the accuracy of a sample "
        f"after all updates ({_shown(end)}). Half way, a point chosen after seeing the curves, it {_verb(added)} it "
        f"({_shown(added)}). Steps alone, compared in the whole group instead of the majority, "
        f"{_verb(group, plural=True)} it there ({_shown(group)} over steps compared in the majority)."
    )


def _published(
    document: Document, arm: str, other: str | None = None, metric: str = "greedy", split: str = BOTH
) -> Mapping[str, Any]:
    """The difference of an arm under the published estimator to `other`, or else to agreement on answers under it."""
    return difference(document, f"{arm}-{_PUBLISHED}", other or f"{OUTCOME_ONLY}-{_PUBLISHED}", metric, split)


def _views(document: Document, other_models: Sequence[Document]) -> str:
    alone, cross = (
        difference(document, OUTCOME_ONLY, "base"),
        difference(document, "views-cross", OUTCOME_ONLY),
    )
    others = difference(document, "views-cross", "views-pooled")
    elsewhere = [_shown(difference(other, "views-cross", OUTCOME_ONLY)) for other in other_models]
    on_others = (
        f"On other base models, with other wrong facts, the difference is {' and '.join(elsewhere)}. "
        if elsewhere
        else ""
    )
    return (
        "By construction, a vote over one prompt cannot find an error that all paths share: on `one-path`, where "
        f"they do, training on it {_verb(alone)} greedy accuracy ({_shown(alone)}). Votes across views made for this "
        f"task, the grid with the asked cells in another order, {_verb(cross, plural=True)} it over that: "
        f"{_shown(cross)}, of which {_shown(others)} is due to leaving out a view's own votes. {on_others}"
        "General views (`jpeg`, `mirror`, ...) were not tested."
    )


def _defects(document: Document, second: Document) -> str:
    loss, other = difference(document, "reference-faithful", "base"), difference(second, "full", OUTCOME_ONLY)
    return (
        "With seven properties of the released code (six defects, and a baseline that moves with each rollout) the "
        f"paper's rewards end {_shown(loss)} against the untrained model, at a learning rate tuned for the other "
        f"arms. On a second base model the paper's mix ends {_shown(other)} against answers alone. All models are "
        "tiny."
    )


def _verb(found: Mapping[str, Any], *, plural: bool = False) -> str:
    """What an interval says about accuracy."""
    if found["low"] is None:
        verb = "seems to raise" if found["mean"] > 0 else "seems to lower"
    elif found["low"] > 0:
        verb = "raises"
    else:
        verb = "lowers" if found["high"] < 0 else "does not measurably change"
    if not plural:
        return verb
    first, _, rest = verb.partition(" ")
    return " ".join(filter(None, ("do" if first == "does" else first.removesuffix("s"), rest)))


def _verdict(found: Mapping[str, Any], sign: int = 1) -> str:
    """Whether a difference is on the side that a claim puts it on, where `sign` is 1 above 0 and -1 below."""
    if found["low"] is None:
        return "too few seeds"
    low, high = sorted((sign * found["low"], sign * found["high"]))
    return "yes" if low > 0 else "opposite" if high < 0 else "undecided"


def _shown(found: Mapping[str, Any]) -> str:
    return cell(found, sign=True) + (" (too few seeds for an interval)" if found["low"] is None else "")


def _share(gain: float | None, document: Document) -> str:
    """A gain over the base model as a share of that of true answers; empty if one is missing or those gain nothing."""
    truth = gain_of_truth(document)
    return "" if gain is None or math.isnan(truth) else f"{gain / truth:.0%}"


def _chance(document: Document, arm: str) -> str:
    """The p-values of an arm on answers against the base model: alone, and corrected as in the table of the arms."""
    alone, of_all = difference(document, "base", arm)["p"], corrected(document)
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
