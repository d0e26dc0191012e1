"""Scoring a stored group anew."""

from typing import Any

from ireasoner.reward_server import wire
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring.scorer import Caller, Scorer

Json = dict[str, Any]


async def rescored(
    scorer: Scorer, configs: ConfigRegistry, stored: Json, caller: Caller, config: wire.Config
) -> Json:
    """The group of `whole_group.whole` as `ledger_wire.Rescored`; raises what `Scorer.score` raises.

    Raises MalformedRequest for a group that others judge: they are records of their own.
    """
    if (voters := stored["sent"].get("voters")) is not None:
        reason = f"the group was judged by the votes of {voters!r}, which is stored apart: it cannot be scored alone"
        raise MalformedRequest(reason, faults=(wire.Fault(place="group", reason=reason),))
    request = wire.ScoreRequest(groups=[wire.Group.model_validate(stored["sent"])], config=config)
    scores = await scorer.score(stored["endpoint"], request, stored["progress"], caller)
    return {
        "config_label": config.config_label,
        "config": configs.use(config, caller.experiment).model_dump(),
        "fingerprint": scores["fingerprint"],
        "scored": scores["groups"][0],
    }
