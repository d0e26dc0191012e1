"""Scoring a stored group anew."""

from collections.abc import Mapping
from typing import Any

from ireasoner.reward_server import wire
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring.scorer import Caller, Scorer

Json = dict[str, Any]


def group_to_score(sent: Mapping[str, Any], group_id: str) -> wire.Group:
    """What a group's scores depend on, as a group that can be scored without others; its id becomes `group_id`.

    Raises MalformedRequest for a group that others judge: they are records of their own.
    """
    if (voters := sent.get("voters")) is not None:
        reason = f"the group was judged by the votes of {voters!r}, which is stored apart: it cannot be scored alone"
        raise MalformedRequest.at("group", reason)
    return wire.Group.model_validate({"id": group_id, "rollouts": sent["rollouts"]})


async def rescored(
    scorer: Scorer, configs: ConfigRegistry, stored: Json, caller: Caller, config: wire.Config
) -> Json:
    """The group of `whole_group.whole` as `ledger_wire.Rescored`; raises what `Scorer.score` raises.

    Raises MalformedRequest for a group that others judge.
    """
    group = group_to_score(stored["sent"], stored["sent"]["id"])
    request = wire.ScoreRequest(groups=[group], config=config)
    scores = await scorer.score(stored["endpoint"], request, stored["progress"], caller)
    return {
        "config_label": config.config_label,
        "config": configs.use(config, caller.experiment).model_dump(),
        "fingerprint": scores["fingerprint"],
        "scored": scores["groups"][0],
    }
