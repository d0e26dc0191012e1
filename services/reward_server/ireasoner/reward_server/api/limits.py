"""What one request may hold, and how long its caller may take: bounds that no operator has had to change."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.connection import ConnectionLimits
from ireasoner.reward_server.cohorts.cohort_memory import CohortLimits
from ireasoner.reward_server.errors import RequestTooLarge

MAX_CONFIG_BYTES = 2**16
"""Largest body that registers a config, which has some 40 fields."""
MAX_CONFIG_VALUES = 128
"""JSON values of a request besides its groups: those of a config, `detail` and `progress`."""
ROLLOUT_VALUES = 14
GROUP_VALUES = 12
"""JSON values of a rollout and a group with every field, names included, besides steps, signals and labels."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a request. Bytes and the queue, which decide over memory, are settings.

    Attributes:
        max_groups: Groups of a request.
        max_rollouts: Rollouts of a group, and the largest `group_size` of a cohort.
        max_request_rollouts: Rollouts of all groups of a request, and of all groups' voters.
        max_steps: Steps of a rollout that was parsed before it was sent; no config reads more than 64.
        max_request_steps: Steps of all rollouts of a request that were parsed before they were sent.
        max_request_signals: Signals of all rollouts of a request.
        max_views: Views of a group, each of which counts votes of its own.
        max_text_characters: Characters of a rollout: about 50,000 tokens. Reading one rollout holds the event
            loop, for a tenth of a second at this length.
        body_timeout_s: Seconds that a body may take to arrive: 32 MiB at 10 Mbit/s.
        write_timeout_s: Seconds that a caller may stop reading its answer.
        connections: Bounds on connections, whose callers need no token.
        cohorts: Bounds on callers that wait for the rest of their cohort.
    """

    max_groups: int = 1_024
    max_rollouts: int = 1_024
    max_request_rollouts: int = 16_384
    max_steps: int = 256
    max_request_steps: int = 262_144
    max_request_signals: int = 65_536
    max_views: int = 64
    max_text_characters: int = 200_000
    body_timeout_s: float = 30.0
    write_timeout_s: float = 30.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    cohorts: CohortLimits = field(default_factory=CohortLimits)

    @property
    def max_containers(self) -> int:
        """JSON objects and lists in the largest request: three per rollout, three per group, three more."""
        return 3 * self.max_request_rollouts + 3 * self.max_groups + 3

    @property
    def max_values(self) -> int:
        """JSON values in the largest request: those that hold others, fields, steps and signals."""
        fields = (
            ROLLOUT_VALUES * self.max_request_rollouts + GROUP_VALUES * self.max_groups + MAX_CONFIG_VALUES
        )
        return self.max_containers + fields + self.max_request_steps + 2 * self.max_request_signals


def check_size(request: wire.ScoreRequest, limits: Limits) -> None:
    """Raises RequestTooLarge, which names the first field that is over a limit."""
    for path, count, what, limit in _counts(request, limits):
        if count > limit:
            reason = f"{count} {what}; this server takes {limit}"
            raise RequestTooLarge(f"{path}: {reason}", faults=(wire.Fault(place=path, reason=reason),))


def _counts(request: wire.ScoreRequest, limits: Limits) -> Iterator[tuple[str, int, str, int]]:
    """Path, count, noun and limit of each thing that has a limit."""
    yield "groups", len(request.groups), "groups", limits.max_groups
    rollouts = sum(len(group.rollouts) for group in request.groups)
    yield "groups", rollouts, "rollouts", limits.max_request_rollouts
    all_steps = sum(len(rollout.steps or ()) for group in request.groups for rollout in group.rollouts)
    yield "groups", all_steps, "steps", limits.max_request_steps
    signals = sum(len(rollout.signals or ()) for group in request.groups for rollout in group.rollouts)
    yield "groups", signals, "signals", limits.max_request_signals
    sizes = {group.id: len(group.rollouts) for group in request.groups}
    votes = sum(sizes.get(group.voters or "", 0) for group in request.groups)
    yield "groups", votes, "rollouts that vote for other groups", limits.max_request_rollouts
    max_characters = limits.max_text_characters
    for g, group in enumerate(request.groups):
        if len(group.rollouts) > limits.max_rollouts:
            yield f"groups[{g}].rollouts", len(group.rollouts), "rollouts", limits.max_rollouts
        views = len({rollout.view for rollout in group.rollouts})
        yield f"groups[{g}].rollouts", views, "views", limits.max_views
        for r, rollout in enumerate(group.rollouts):
            if rollout.text is not None:
                for name, text in (("text", rollout.text), ("answer_in_view", rollout.answer_in_view or "")):
                    if len(text) > max_characters:
                        path = f"groups[{g}].rollouts[{r}].{name}"
                        yield path, len(text), "characters", max_characters
                continue
            path = f"groups[{g}].rollouts[{r}]"
            if len(rollout.answer or "") > max_characters:
                yield f"{path}.answer", len(rollout.answer or ""), "characters", max_characters
            steps = rollout.steps or ()
            yield f"{path}.steps", len(steps), "steps", limits.max_steps
            yield f"{path}.steps", sum(map(len, steps)), "characters", max_characters
