"""What one request may hold, and how long its caller may take: bounds that no operator has had to change."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.connection import ConnectionLimits
from ireasoner.reward_server.cohorts.cohort_memory import CohortLimits
from ireasoner.reward_server.errors import RequestTooLarge

MAX_CONFIG_BYTES = 2**16
"""Largest body that registers a config, which has some 30 fields."""
MAX_CONFIG_VALUES = 64
"""JSON values of a request besides its groups: those of a config, `detail` and `progress`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a request. Bytes and the queue, which decide over memory, are settings.

    Attributes:
        max_groups: Groups of a request.
        max_rollouts: Rollouts of a group, and the largest `group_size` of a cohort.
        max_request_rollouts: Rollouts of all groups of a request.
        max_steps: Steps of a rollout that was parsed before it was sent; no config reads more than 64.
        max_request_steps: Steps of all rollouts of a request that were parsed before they were sent.
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
    max_text_characters: int = 200_000
    body_timeout_s: float = 30.0
    write_timeout_s: float = 30.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    cohorts: CohortLimits = field(default_factory=CohortLimits)

    @property
    def max_containers(self) -> int:
        """JSON objects and lists in the largest request: two per rollout, two per group, and three for the request."""
        return 2 * self.max_request_rollouts + 2 * self.max_groups + 3

    @property
    def max_values(self) -> int:
        """JSON values in the largest request: those that hold others, three per rollout, two per group, and steps."""
        fields = 3 * self.max_request_rollouts + 2 * self.max_groups + MAX_CONFIG_VALUES
        return self.max_containers + fields + self.max_request_steps


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
    max_characters = limits.max_text_characters
    for g, group in enumerate(request.groups):
        if len(group.rollouts) > limits.max_rollouts:
            yield f"groups[{g}].rollouts", len(group.rollouts), "rollouts", limits.max_rollouts
        for r, rollout in enumerate(group.rollouts):
            if rollout.text is not None:
                if len(rollout.text) > max_characters:
                    path = f"groups[{g}].rollouts[{r}].text"
                    yield path, len(rollout.text), "characters", max_characters
                continue
            path = f"groups[{g}].rollouts[{r}]"
            if len(rollout.answer or "") > max_characters:
                yield f"{path}.answer", len(rollout.answer or ""), "characters", max_characters
            steps = rollout.steps or ()
            yield f"{path}.steps", len(steps), "steps", limits.max_steps
            yield f"{path}.steps", sum(map(len, steps)), "characters", max_characters
