"""The groups of one update, and what it logs of them."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from ireasoner.audit.questions import near_duplicate_share
from ireasoner.clients import ScoredGroup
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import SamplingContract
from ireasoner.trainer.settings import Role


@dataclass(slots=True)
class Collected:
    """The scored groups of one update.

    Attributes:
        update: Index of the update, from 0.
        role: The role that it trains.
        recorded: The groups that `groups.jsonl` gets, in the order of their images: those that are rolled out, and
            those of the Solver that are not.
        groups: Those that are rolled out, in the order of the batch's rows: not those whose proposal holds no question,
            nor the last ones if processes could not share the rows evenly.
        contract: How they were sampled.
        fingerprint: Fingerprint of the scoring.
        metrics: What the update logs, by name; each a list, as in TRL.
    """

    update: int
    role: Role
    recorded: list[Group]
    contract: SamplingContract
    groups: list[Group] = field(default_factory=list)
    fingerprint: str = ""
    metrics: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def metric(self, name: str, value: float) -> None:
        """Adds one value to a metric of the update."""
        self.metrics[name].append(value)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Logs how many seconds the block takes."""
        started_s = time.monotonic()
        yield
        self.metric(f"seconds/{phase}", time.monotonic() - started_s)


def log_questions(collected: Collected, proposed: Sequence[str | None], distinct: int) -> None:
    """Logs how many proposals hold a question, how many questions differ (`distinct`), and how alike they are."""
    questions = [question for question in proposed if question is not None]
    collected.metric("proposals_without_question", 1 - len(questions) / len(proposed))
    collected.metric("questions_distinct", distinct / len(proposed))
    collected.metric("questions_near_duplicate", near_duplicate_share(questions))


def log_scores(collected: Collected, scored: Sequence[ScoredGroup]) -> None:
    """Logs the means over scored groups, and those of each component of their rewards."""
    values_by_name: dict[str, list[float | None]] = {
        "answer_entropy_nats": [group.entropy_nats for group in scored],
        "dominant_share": [group.dominant_share for group in scored],
        "proposer_reward": [group.proposer_reward for group in scored],
        "tie_rate": [float(group.tie) for group in scored if group.tie is not None],
        "outcome": [r.outcome for group in scored for r in group.rollouts],
        "trajectory": [r.trajectory for group in scored for r in group.rollouts],
        "steps": [float(len(r.steps)) for group in scored for r in group.rollouts if r.status == "ok"],
        "invalid_rate": [float(r.status == "invalid") for group in scored for r in group.rollouts],
        "abstain_rate": [float(r.status == "abstain") for group in scored for r in group.rollouts],
    }
    for group in scored:
        for rollout in group.rollouts:
            for name, component in rollout.components.items():
                values_by_name.setdefault(f"component/{name}", []).append(component)
    for name, values in values_by_name.items():
        known = [value for value in values if value is not None]
        if known:
            collected.metric(name, sum(known) / len(known))


def log_signals(collected: Collected, signals: Iterable[Mapping[str, float]]) -> None:
    """Logs the mean of each signal over the rollouts that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for of_rollout in signals:
        for name, value in of_rollout.items():
            values[name].append(value)
    for name, known in values.items():
        collected.metric(f"signal/{name}", fmean(known))


def log_voters(collected: Collected, voting: Sequence[ScoredGroup]) -> None:
    """Logs how the voting groups vote, and how the groups that they judge judge them in turn."""
    if voting:
        collected.metric("voters/dominant_share", fmean(group.dominant_share for group in voting))
    outcomes = [rollout.outcome for group in voting for rollout in group.rollouts]
    if known := [outcome for outcome in outcomes if outcome is not None]:
        collected.metric("voters/outcome", fmean(known))
