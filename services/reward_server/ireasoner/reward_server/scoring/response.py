"""What a request is answered with, as plain JSON values: see `wire.ScoreResponse` for its fields."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import orjson

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement import outcomes
from ireasoner.reward_server.agreement.alignment import Doubles
from ireasoner.reward_server.agreement.trajectories import JudgedCluster
from ireasoner.reward_server.parsing.boxed import has_box
from ireasoner.reward_server.parsing.rollout import Flaw
from ireasoner.reward_server.parsing.tags import tags_named
from ireasoner.reward_server.scoring.outcome import Outcome
from ireasoner.reward_server.scoring.read_group import ReadGroup
from ireasoner.reward_server.scoring_config import ScoringConfig

Json = dict[str, Any]
"""Part of a response. Building pydantic models would take longer than computing the rewards."""

_NOT_JUDGED = "one of its steps has no embedding"


@dataclass(frozen=True, slots=True)
class GroupRewards:
    """A group's rewards, [N] each, and its judged steps; a part that the endpoint does not compute is None."""

    reward: Doubles
    outcome: Outcome | None
    trajectory: Doubles | None
    judged: Sequence[JudgedCluster]


def written(response: Json) -> bytes:
    """A response as JSON."""
    return orjson.dumps(response)


def cut_to_rewards(response: Json) -> None:
    """Leaves in a response what detail `rewards` has."""
    for group in response["groups"]:
        group.pop("clusters", None)
        for rollout in group.get("rollouts", ()):
            rollout.pop("steps", None)


def scored_group(
    group: ReadGroup, config: ScoringConfig, detail: wire.Detail, rewards: GroupRewards | None
) -> Json:
    """One group as `wire.ScoredGroup` describes it, with its rollouts unless `rewards` is None."""
    vote = group.vote
    scored: Json = {
        "id": group.sent.id,
        "status": "ok" if vote.clusters else "invalid",
        "dominant_answer": vote.dominant,
        "tie": vote.tied > 1,
        "dominant_share": vote.share(vote.dominant),
        "density": _finite(agreement.density(group.compared_share(vote.dominant, config), config)),
        **_entropy(group, config),
    }
    if detail == "full":
        scored["clusters"] = [_cluster(group, answer, count) for answer, count in vote.clusters]
    if group.not_compared:
        scored["not_compared"] = list(group.not_compared)
    if hint := _hint(group, config):
        scored["hint"] = hint
    if rewards is not None:
        rollouts = _scored_rollouts(group, rewards, config)
        if detail == "full":
            _add_steps(rollouts, group, rewards.judged, config)
        scored["rollouts"] = rollouts
    return scored


def _hint(group: ReadGroup, config: ScoringConfig) -> str | None:
    """Where the answers are, if no rollout has one where the config looks for it."""
    if any(rollout.flaw != "no_answer" for rollout in group.rollouts):
        return None
    texts = [sent.text for sent in group.sent.rollouts if sent.text is not None]
    tags = tags_named(config.think_tag, config.answer_tag, config.step_tag)
    if config.answer_from == "boxed":
        other, form, count = (
            "tag",
            f"<{config.answer_tag}>",
            sum(bool(tags.answer_open.search(text)) for text in texts),
        )
    else:
        other, form, count = "boxed", "\\boxed{}", sum(map(has_box, texts))
    if count == 0:
        return None
    return (
        f"{_reason('no_answer', config)} in any rollout, but {count} of {len(group.rollouts)} have {form}: set "
        f'"answer_from" to "{other}" or "any" in the config'
    )


def _entropy(group: ReadGroup, config: ScoringConfig) -> Json:
    vote = group.vote
    if not vote.clusters:
        return {"entropy_nats": None, "proposer_reward": 0.0}
    shares = np.array([count / vote.size for _, count in vote.clusters])
    entropy_nats = agreement.answer_entropy_nats(shares)
    return {
        "entropy_nats": _finite(entropy_nats),
        "proposer_reward": _finite(_proposer_reward(entropy_nats, group, config)),
    }


def _proposer_reward(entropy_nats: float, group: ReadGroup, config: ScoringConfig) -> float:
    if config.proposer == "midpoint":
        return outcomes.midpoint_reward(group.vote.share(group.vote.dominant))
    return agreement.proposer_reward(entropy_nats, group.vote.size, config)


def _cluster(group: ReadGroup, answer: str, count: int) -> Json:
    if group.members is None:
        return {"answer": answer, "count": count}
    members = [
        {"answer": member.answer, "count": member.count, "rules": list(member.rules)}
        for member in group.members[answer]
    ]
    return {"answer": answer, "count": count, "members": members}


def _scored_rollouts(group: ReadGroup, rewards: GroupRewards, config: ScoringConfig) -> list[Json]:
    unknown: list[float | None] = [None] * len(group.rollouts)
    outcome = rewards.outcome
    columns = zip(
        group.sent.rollouts,
        group.rollouts,
        _values(rewards.reward),
        unknown if outcome is None else _values(outcome.rewards),
        unknown if rewards.trajectory is None else _values(rewards.trajectory),
        unknown if outcome is None else outcome.reasons,
        unknown if outcome is None else _components(outcome),
        strict=True,
    )
    takes_answers = outcome is None or config.outcome != "signal"
    scored = []
    for sent, parsed, reward, in_outcome, trajectory, reason, components in columns:
        flaw = parsed.flaw if takes_answers else None
        each = {
            "id": sent.id,
            **_status(flaw, reward, reason, sent.rewarded, config),
            "answer": parsed.answer,
        }
        if sent.rewarded:
            each |= {"reward": reward, "outcome": in_outcome, "trajectory": trajectory}
            if components and in_outcome is not None:
                each["components"] = components
        else:
            each |= {"reward": None, "outcome": None, "trajectory": None, "rewarded": False}
        scored.append(each)
    return scored


def _components(outcome: Outcome) -> list[Json]:
    """The components of each rollout's outcome reward, without those that it has not."""
    names = tuple(outcome.components)
    rows = zip(*map(_values, outcome.components.values()), strict=True)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows
    ]


def _status(
    flaw: Flaw | None, reward: float | None, reason: str | None, is_rewarded: bool, config: ScoringConfig
) -> Json:
    if flaw:
        return {"status": "invalid", "reason": _reason(flaw, config)}
    if reward is None and is_rewarded:
        return {"status": "abstain", "reason": reason or _NOT_JUDGED}
    return {"status": "ok", "reason": None}


def _reason(flaw: Flaw, config: ScoringConfig) -> str:
    """Why a rollout is invalid, in terms of the config that it was read with."""
    tag = config.answer_tag
    missing = {"tag": f"<{tag}>", "boxed": "\\boxed{}", "any": f"<{tag}>, \\boxed{{}} or stated answer"}
    closing = f"</{tag}>" if config.answer_from == "tag" else "closing tag or brace"
    reasons: dict[Flaw, str] = {
        "no_answer": f"there is no {missing[config.answer_from]}",
        "empty_answer": "the answer is empty",
        "answer_not_closed": f"the answer is cut off: there is no {closing}",
    }
    return reasons[flaw]


def _add_steps(
    scored: list[Json], group: ReadGroup, judged: Sequence[JudgedCluster], config: ScoringConfig
) -> None:
    """Adds the steps of each rollout as JSON, which takes a quarter of the memory of its objects."""
    for each in judged:
        for index, steps in zip(each.cluster.members, _judged_steps(each, config), strict=True):
            scored[index]["steps"] = orjson.Fragment(orjson.dumps(steps))
    for rollout, parsed in zip(scored, group.rollouts, strict=True):
        if "steps" not in rollout:
            steps = [{"text": step, "cosine": None, "weight": 0.0} for step in parsed.steps]
            rollout["steps"] = orjson.Fragment(orjson.dumps(steps))


def _judged_steps(judged: JudgedCluster, config: ScoringConfig) -> Iterator[list[Json]]:
    """The steps of each rollout of a cluster, one rollout after the other."""
    steps = judged.steps
    columns: dict[str, list[Any]] = {"cosine": _values(steps.cosines), "weight": steps.weights.tolist()}
    if config.explains_steps:
        columns["credit"] = steps.credits.tolist()
        columns["place"] = [slot if slot >= 0 else None for slot in steps.slots.tolist()]
    names = ("text", *columns)
    rest = zip(chain.from_iterable(judged.cluster.steps), *columns.values(), strict=True)
    for each in judged.cluster.steps:
        yield [dict(zip(names, step, strict=True)) for step in islice(rest, len(each))]


def _values(numbers: Doubles) -> list[float | None]:
    """The numbers as a list, None for NaN; raises ValueError for an infinite one."""
    if np.isinf(numbers).any():
        raise ValueError(f"a reward is infinite: {numbers}")
    return [None if number != number else number for number in numbers.tolist()]


def _finite(number: float) -> float:
    """The number itself; raises ValueError if it is NaN or infinite."""
    if not math.isfinite(number):
        raise ValueError(f"a group's score is {number}")
    return number
