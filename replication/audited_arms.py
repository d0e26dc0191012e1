"""How an audit does on the committed results: `python -m replication.audited_arms` prints its tables.

The logs of the runs are not committed, but each arm's curves are: the Solver's updates, averaged over the seeds. An
audit of these curves sees entropy, dominant share, number of steps and, with labels, the accuracy of the pseudo-labels.
It sees no texts, and no single seed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireasoner.audit.run_audit import RunAudit, Update, audit
from ireasoner.audit.signs import DOMINANT, ENTROPY, LABELS, STEPS
from ireasoner.audit.thresholds import Thresholds
from replication.recorded import as_shown

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "replication"
CALIBRATION = "sums"
"""The task on which thresholds were chosen; the others only test them."""
LEAST_LOSS = 0.05
"""An arm broke if it lost more than this against its base model, with the whole interval below 0.

Arms of fewer than five seeds have no interval: of them the mean decides.
"""

_FILES = {
    "sums": "results.json",
    "sums, second model": "second-model/results.json",
    "remainders": "remainders/results.json",
    "one-path": "one-path/results.json",
    "scenes": "scenes/results.json",
}
_FIGURES = {
    ENTROPY: "answer_entropy_nats",
    DOMINANT: "dominant_share",
    STEPS: "steps",
    LABELS: "pseudo_label_accuracy",
}


@dataclass(frozen=True, slots=True)
class AuditedArm:
    """An arm of a task: how much it lost against its base model, and its audits without and with labels.

    Attributes:
        task: Its task.
        arm: Its name.
        lost: Accuracy of a sample (avg@8) below the base model's, on the test questions.
        broke: Whether that is a loss, beyond `LEAST_LOSS` and its interval.
        unlabelled: The audit without labels.
        labelled: The audit with them.
    """

    task: str
    arm: str
    lost: float
    broke: bool
    unlabelled: RunAudit
    labelled: RunAudit


def audited_arms() -> Iterator[AuditedArm]:
    """Every trained arm of the committed results."""
    for task, file in _FILES.items():
        for arm in as_shown(json.loads((RESULTS / file).read_text(encoding="utf-8")))["arms"]:
            if arm.get("curves"):
                yield _audited(task, arm)


def _audited(task: str, arm: Mapping[str, Any]) -> AuditedArm:
    against_base = arm["against"]["base"]["test"]["sampled"]
    updates = list(_updates(arm["curves"]))
    unlabelled = [
        Update(each.at, {name: value for name, value in each.figures.items() if name != LABELS})
        for each in updates
    ]
    return AuditedArm(
        task=task,
        arm=arm["arm"],
        lost=-against_base["mean"],
        broke=against_base["mean"] < -LEAST_LOSS and _is_below_0(against_base),
        unlabelled=audit(unlabelled, Thresholds()),
        labelled=audit(updates, Thresholds()),
    )


def _is_below_0(found: Mapping[str, float | None]) -> bool:
    """Whether a difference is below 0 with its whole interval, if it has one."""
    return found["high"] is None or found["high"] < 0


def _updates(curves: dict[str, list[float | None]]) -> Iterator[Update]:
    for index, at in enumerate(curves["update"]):
        assert at is not None
        known = {figure: curves[name][index] for figure, name in _FIGURES.items()}
        yield Update(int(at), {figure: value for figure, value in known.items() if value is not None})


def _is_marked(audited: RunAudit) -> bool:
    return audited.verdict == "collapse likely"


def confusion(arms: Sequence[AuditedArm]) -> str:
    """The confusion table, Markdown: thresholds were chosen on `CALIBRATION`, and tested on the other tasks."""
    lines = [
        "| arms | labels | broke, marked | broke, missed | sound, marked | sound, not marked |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, chosen in (
        (f"`{CALIBRATION}`, where thresholds were chosen", [a for a in arms if a.task == CALIBRATION]),
        ("all other tasks and models", [a for a in arms if a.task != CALIBRATION]),
    ):
        for labels in ("without", "with"):
            marks = [
                (arm.broke, _is_marked(arm.unlabelled if labels == "without" else arm.labelled))
                for arm in chosen
            ]
            counts = [
                marks.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))
            ]
            lines.append(f"| {name} | {labels} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def broken(arms: Sequence[AuditedArm]) -> str:
    """The arms that broke or were marked, Markdown."""
    lines = [
        "| task | arm | lost avg@8 | dominant share | pseudo-labels true | without labels | with labels |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in arms:
        if arm.broke or _is_marked(arm.labelled):
            figures = {figure.name: figure for figure in arm.labelled.figures}
            cells = (f"{figures[name].first:.2f} to {figures[name].now:.2f}" for name in (DOMINANT, LABELS))
            verdicts = (_verdict(audited) for audited in (arm.unlabelled, arm.labelled))
            lines.append(
                f"| {arm.task} | `{arm.arm}` | {arm.lost:.3f} | {' | '.join(cells)} | {' | '.join(verdicts)} |"
            )
    return "\n".join(lines)


def _verdict(audited: RunAudit) -> str:
    signs = ", ".join(f"`{sign.name}` since update {sign.since}" for sign in audited.signs if sign.decides)
    return signs or "not marked"


if __name__ == "__main__":
    found = list(audited_arms())
    print(confusion(found), broken(found), sep="\n\n")
