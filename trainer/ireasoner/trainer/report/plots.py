"""Which curves belong to which plot, with one sentence about each plot."""

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ireasoner.trainer.report.drawing import Level, Line, curves
from ireasoner.trainer.report.metrics import Floats, Metrics


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as the page shows it.

    Attributes:
        legend: Label, colour, and means over the early and the late window, of each curve.
        absent: Labels of the curves that the run has not logged.
        svg: The plot; None if the run has logged none of its curves.
    """

    title: str
    sentence: str
    legend: list[tuple[str, str, float | None, float | None]]
    absent: list[str]
    svg: Markup | None


@dataclass(frozen=True, slots=True)
class _Layout:
    title: str
    sentence: str
    lines: tuple[tuple[str, str, str], ...]
    bounds: tuple[float | None, float | None] = (0.0, None)


_SHARE = (-0.03, 1.03)

_LAYOUTS = {
    "solver-reward": _Layout(
        "Reward of the Solver",
        "The outcome reward is for giving the group's most frequent answer, the trajectory reward for reaching it by "
        "the same steps. The reward mixes the two; the trajectory reward gains weight during the run.",
        (
            ("reward", "solver/reward", "blue"),
            ("outcome", "solver/outcome", "teal"),
            ("trajectory", "solver/trajectory", "purple"),
        ),
        _SHARE,
    ),
    "proposer-reward": _Layout(
        "Reward of the Proposer",
        "A question earns most if the Solver's answers to it disagree moderately: it is neither trivial nor hopeless.",
        (
            ("in its own updates", "proposer/reward", "orange"),
            ("for the questions that the Solver trained on", "solver/proposer_reward", "grey"),
        ),
        _SHARE,
    ),
    "entropy": _Layout(
        "Answer entropy",
        "How much the answers of a group disagree, in nats; 0 if all are equal. An early fall to 0 is a collapse.",
        (
            ("Solver updates", "solver/answer_entropy_nats", "blue"),
            ("Proposer updates", "proposer/answer_entropy_nats", "orange"),
        ),
    ),
    "dominant-share": _Layout(
        "Dominant share",
        "Share of a group's rollouts that give its dominant answer; 1 means that all agree.",
        (
            ("Solver updates", "solver/dominant_share", "blue"),
            ("Proposer updates", "proposer/dominant_share", "orange"),
        ),
        _SHARE,
    ),
    "kl": _Layout(
        "KL divergence from the base model",
        "How far each adapter has moved from the base model, in nats per token.",
        (("Solver", "solver/kl", "blue"), ("Proposer", "proposer/kl", "orange")),
    ),
    "kl-coefficient": _Layout(
        "KL coefficient",
        "How strongly the KL divergence is penalised; an adaptive coefficient rises while KL is above its target.",
        (("Solver", "solver/kl_coefficient", "blue"), ("Proposer", "proposer/kl_coefficient", "orange")),
    ),
    "logprob-gap": _Layout(
        "Log-probability gap",
        "Mean absolute difference between a token's log-probability in sampling and in training; a small gap means "
        "that the sampled policy is the trained one. The canary's is of a few greedy tokens of each published adapter.",
        (
            ("Solver", "solver/logprob_gap/mean", "blue"),
            ("Proposer", "proposer/logprob_gap/mean", "orange"),
            ("Solver's canary", "solver/canary_gap", "teal"),
            ("Proposer's canary", "proposer/canary_gap", "purple"),
        ),
    ),
    "length": _Layout(
        "Completion length",
        "Mean tokens per completion; steady shrinking or growth is often the first sign of reward hacking.",
        (
            ("Solver", "solver/completions/mean_length", "blue"),
            ("Proposer", "proposer/completions/mean_length", "orange"),
        ),
    ),
    "questions": _Layout(
        "Distinct questions",
        "Share of distinct questions in an update, and of proposals without a question; it reveals a Proposer that "
        "keeps asking the same thing.",
        (
            ("distinct, Solver updates", "solver/questions_distinct", "blue"),
            ("distinct, Proposer updates", "proposer/questions_distinct", "orange"),
            ("without a question", "proposer/proposals_without_question", "red"),
        ),
        _SHARE,
    ),
    "shadow": _Layout(
        "Measured against labels",
        "For questions with a known answer: how often the dominant answer, a single rollout, or any rollout is right, "
        "and how likely a right rollout has a higher reward than a wrong one. No reward depends on labels.",
        (
            ("dominant answer right", "solver/shadow/pseudo_label_accuracy", "blue"),
            ("rollout right", "solver/shadow/rollout_accuracy", "teal"),
            ("pass@N", "solver/shadow/pass_at_n", "purple"),
            ("reward ranks right above wrong (AUC)", "solver/shadow/reward_auc", "orange"),
        ),
        _SHARE,
    ),
    "signals": _Layout(
        "Signals",
        "What the reward reads besides answers, means over the Solver's rollouts: a judge's score, or how sure the "
        "policy was of its tokens, in nats.",
        (
            ("self-certainty", "solver/signal/self_certainty", "blue"),
            ("token entropy", "solver/signal/mean_token_entropy", "orange"),
            ("log-probability of a token", "solver/signal/mean_logprob", "teal"),
            ("log-probability of a rollout", "solver/signal/sum_logprob", "purple"),
            ("judge", "solver/signal/judge", "grey"),
        ),
        (None, None),
    ),
    "flaws": _Layout(
        "Groups and rollouts with little to learn from",
        "Shares of Solver rollouts that are invalid or cut off at the token limit, and of groups whose dominant answer "
        "is tied or whose rewards are all equal. Equal rewards give no gradient.",
        (
            ("invalid", "solver/invalid_rate", "red"),
            ("cut off", "solver/completions/clipped_ratio", "purple"),
            ("tied", "solver/tie_rate", "blue"),
            ("equal rewards", "solver/frac_reward_zero_std", "grey"),
        ),
        _SHARE,
    ),
}


def plots(metrics: Metrics, settings: dict[str, Any]) -> list[Plot]:
    """Every plot over updates, in the order of the page; `settings` gives the reference lines.

    The comparison with labels is only shown for a run that has labels, and signals for one whose reward reads some.
    """
    shown = {"shadow": bool(settings.get("labels")), "signals": _logs_any(metrics, _LAYOUTS["signals"])}
    return [
        _plot(name, layout, metrics, settings) for name, layout in _LAYOUTS.items() if shown.get(name, True)
    ]


def _logs_any(metrics: Metrics, layout: _Layout) -> bool:
    return any(metrics.curve(metric) is not None for _, metric, _ in layout.lines)


def _plot(name: str, layout: _Layout, metrics: Metrics, settings: dict[str, Any]) -> Plot:
    lines, legend, absent = [], [], []
    late = metrics.late
    for label, metric, colour in layout.lines:
        curve = metrics.curve(metric)
        if curve is None:
            absent += [label] if name != "signals" else []
        else:
            lines.append(Line(label, curve, colour))
            legend.append((label, colour, curve.mean(metrics.early), curve.mean(late) if late else None))
    svg = None
    if lines:
        svg = curves(
            f"plot-{name}",
            lines,
            last_update=metrics.last_update,
            levels=_levels(name, settings),
            bounds=_bounds(layout, lines),
            log=name == "kl-coefficient" and _spans_decades([line.curve.values for line in lines]),
        )
    return Plot(layout.title, layout.sentence, legend, absent, svg)


def comparisons(first: Metrics, second: Metrics, settings: dict[str, Any]) -> list[Plot]:
    """One plot per metric that either of two runs has logged; the first run is grey, the second blue."""
    found = []
    for name, layout in _LAYOUTS.items():
        for label, metric, _ in layout.lines:
            lines, legend, absent = [], [], []
            for run, metrics, colour in (("A", first, "grey"), ("B", second, "blue")):
                curve, late = metrics.curve(metric), metrics.late
                if curve is None:
                    absent.append(run)
                    continue
                lines.append(Line(run, curve, colour))
                legend.append((run, colour, curve.mean(metrics.early), curve.mean(late) if late else None))
            if lines:
                svg = curves(
                    "plot-" + metric.replace("/", "-"),
                    lines,
                    last_update=max(first.last_update, second.last_update),
                    levels=_levels(name, settings),
                    bounds=_bounds(layout, lines),
                    log=name == "kl-coefficient" and _spans_decades([line.curve.values for line in lines]),
                )
                found.append(Plot(f"{layout.title}: {label}", layout.sentence, legend, absent, svg))
    return found


def _bounds(layout: _Layout, lines: list[Line]) -> tuple[float | None, float | None]:
    """The layout's bounds; those of shares do not hold for the rewards of every scoring config."""
    low, high = _SHARE
    within = all(low <= line.curve.values.min() and line.curve.values.max() <= high for line in lines)
    return layout.bounds if layout.bounds != _SHARE or within else (None, None)


def _spans_decades(columns: list[Floats]) -> bool:
    """Whether the largest value is above ten times the smallest, and all are above zero."""
    lowest = min(column.min() for column in columns)
    return bool(lowest > 0 and max(column.max() for column in columns) > 10 * lowest)


def _levels(name: str, settings: dict[str, Any]) -> list[Level]:
    if name == "entropy" and settings.get("group_size"):
        return [Level(math.log(settings["group_size"]), "all answers differ (ln N)")]
    kl = settings.get("kl") or {}
    if name == "kl" and kl.get("mode") == "adaptive":
        return [Level(kl["target"], "target")]
    return []
