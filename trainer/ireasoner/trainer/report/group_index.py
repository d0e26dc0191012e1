"""groups.jsonl, streamed: which questions were asked early and late, and where the groups worth showing are."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ireasoner.trainer.report.metrics import Window
from ireasoner.trainer.run_folder.run_folder import read_lines_at


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question, how often it was asked, and the mean entropy of its answers (None: never scored)."""

    text: str
    count: int
    share: float
    entropy_nats: float | None


@dataclass(slots=True)
class QuestionTally:
    """The questions of one window.

    Attributes:
        asked: Number of proposals, including those without a question.
        counts: How often each question was asked.
    """

    asked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _entropies: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, question: str | None, entropy_nats: float | None) -> None:
        """Counts one proposal."""
        self.asked += 1
        if question is None:
            return
        self.counts[question] += 1
        if entropy_nats is not None:
            total, count = self._entropies.get(question, (0.0, 0))
            self._entropies[question] = (total + entropy_nats, count + 1)

    @property
    def without_question(self) -> int:
        """Number of proposals without a question."""
        return self.asked - self.counts.total()

    @property
    def distinct_share(self) -> float:
        """Distinct questions over proposals, in [0, 1]; 0 without proposals."""
        return len(self.counts) / self.asked if self.asked else 0.0

    def top(self, limit: int) -> list[AskedQuestion]:
        """The most frequent questions; equally frequent ones in the order in which they were first asked."""
        rows = []
        for text, count in self.counts.most_common(limit):
            total, scored = self._entropies.get(text, (0.0, 0))
            rows.append(AskedQuestion(text, count, count / self.asked, total / scored if scored else None))
        return rows


@dataclass(frozen=True, slots=True)
class IndexedGroup:
    """What the choice of samples needs to know about a group.

    Attributes:
        offset: Start of its line in the file, in bytes.
        score: Solver: answer entropy in nats. Proposer: mean reward. None if it was not scored.
        unanimous: All rollouts give the same answer.
        tie: Several answers are equally frequent.
        flawed: A rollout is invalid, or a proposal has no question.
        asks_nothing: Its proposal has no question.
    """

    offset: int
    score: float | None
    unanimous: bool
    tie: bool
    flawed: bool
    asks_nothing: bool = False


@dataclass(slots=True)
class WindowedGroups:
    """The groups and questions of one window of updates."""

    window: Window
    tally: QuestionTally = field(default_factory=QuestionTally)
    groups: dict[str, list[IndexedGroup]] = field(default_factory=lambda: {"solver": [], "proposer": []})


@dataclass(slots=True)
class GroupIndex:
    """The groups of a run.

    Attributes:
        windows: The early and the late window, if the run is long enough.
        groups_by_role: Number of groups of each role that were rolled out in the whole run.
        images: Distinct images.
        fingerprints: Number of groups by scoring fingerprint.
    """

    windows: list[WindowedGroups]
    groups_by_role: Counter[str] = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)
    fingerprints: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, path: Path, windows: list[Window]) -> "GroupIndex":
        """Reads a groups.jsonl line by line; a missing file counts as empty.

        Raises:
            RunFolderError: A line is not a JSON object.
        """
        index = cls([WindowedGroups(window) for window in windows])
        for offset, group in read_lines_at(path):
            role = str(group["role"])
            index.groups_by_role[role] += bool(group.get("rollouts", True))
            index.images.add(str(group["image"]))
            if group["fingerprint"]:
                index.fingerprints[str(group["fingerprint"])] += 1
            for windowed in index.windows:
                # Groups count updates from 0, since they are written before the update is done.
                if int(group["update"]) + 1 in windowed.window:
                    _add(windowed, role, offset, group)
        return index


def _add(windowed: WindowedGroups, role: str, offset: int, group: dict[str, Any]) -> None:
    if role == "solver":
        windowed.tally.add(group["question"], group["entropy_nats"])
        share = group["dominant_share"]
        indexed = IndexedGroup(
            offset,
            score=group["entropy_nats"],
            unanimous=share is not None and share >= 1.0,
            tie=bool(group["tie"]),
            flawed=any(rollout["status"] == "invalid" for rollout in group["rollouts"]),
            asks_nothing=group["question"] is None,
        )
    else:
        proposals = group["proposals"]
        for proposal in proposals:
            windowed.tally.add(proposal["question"], proposal["entropy_nats"])
        rewards = [proposal["reward"] for proposal in proposals if proposal["reward"] is not None]
        indexed = IndexedGroup(
            offset,
            score=sum(rewards) / len(rewards) if rewards else None,
            unanimous=False,
            tie=False,
            flawed=any(proposal["question"] is None for proposal in proposals),
        )
    windowed.groups[role].append(indexed)
