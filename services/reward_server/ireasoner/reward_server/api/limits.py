"""How large a request may be, beyond the bytes of its body."""

from collections.abc import Iterator

from ireasoner.reward_server import wire
from ireasoner.reward_server.errors import RequestTooLarge
from ireasoner.reward_server.settings import RewardServerSettings


def check_size(request: wire.ScoreRequest, settings: RewardServerSettings) -> None:
    """Raises RequestTooLarge, with the first place that is over a limit."""
    for place, count, what, limit in _counts(request, settings):
        if count > limit:
            reason = f"{count} {what}; this server takes {limit}"
            raise RequestTooLarge(f"{place}: {reason}", faults=(wire.Fault(place=place, reason=reason),))


def _counts(
    request: wire.ScoreRequest, settings: RewardServerSettings
) -> Iterator[tuple[str, int, str, int]]:
    """Place, count, name and limit of whatever has one."""
    yield "groups", len(request.groups), "groups", settings.max_groups
    rollouts = sum(len(group.rollouts) for group in request.groups)
    yield "groups", rollouts, "rollouts", settings.max_request_rollouts
    most_characters = settings.max_text_characters
    for g, group in enumerate(request.groups):
        if len(group.rollouts) > settings.max_rollouts:
            yield f"groups[{g}].rollouts", len(group.rollouts), "rollouts", settings.max_rollouts
        for r, rollout in enumerate(group.rollouts):
            if rollout.text is not None:
                if len(rollout.text) > most_characters:
                    place = f"groups[{g}].rollouts[{r}].text"
                    yield place, len(rollout.text), "characters", most_characters
                continue
            place = f"groups[{g}].rollouts[{r}]"
            if len(rollout.answer or "") > most_characters:
                yield f"{place}.answer", len(rollout.answer or ""), "characters", most_characters
            steps = rollout.steps or ()
            yield f"{place}.steps", len(steps), "steps", settings.max_steps
            yield f"{place}.steps", sum(map(len, steps)), "characters", most_characters
