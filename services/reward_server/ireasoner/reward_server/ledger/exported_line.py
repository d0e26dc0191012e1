"""Lines of the explorer's export, each a group as `GET /ledger/groups/{group}` shows it."""

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ireasoner.reward_server import wire
from ireasoner.reward_server.ledger.ledger_wire import EndpointName
from ireasoner.reward_server.ledger.run_lines import (
    LARGEST_UPDATE,
    Json,
    Line,
    Origin,
    Scoring,
    UnusableLine,
    check_rollouts,
    checked,
)
from ireasoner.reward_server.ledger.schema import UNKNOWN
from ireasoner.reward_server.scoring_config import ScoringConfig

LASTING = (
    "received_s",
    "update",
    "endpoint",
    "progress",
    "request_id",
    "config_label",
    "fingerprint",
    "embedder",
    "sent",
    "scored",
)
"""Fields of a group that stay as they are: ids, neighbours and marks can differ between two exports."""


class _Exported(BaseModel):
    """What is read of a line."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    experiment: wire.Identity
    source: wire.Identity
    received_s: float = Field(ge=0, le=LARGEST_UPDATE)
    update: int | None = Field(ge=0, le=LARGEST_UPDATE)
    endpoint: EndpointName
    progress: float = Field(ge=0, le=1)
    request_id: str
    config_label: str
    config: dict[str, Any]
    fingerprint: str
    embedder: str
    sent: dict[str, Any]
    scored: dict[str, Any]


def of_export(line: Json) -> Line:
    """The group of a line.

    Raises:
        UnusableLine: A field is missing or wrong.
    """
    checked(_Exported, line)
    sent, scored = checked(wire.Group, line["sent"]), checked(wire.ScoredGroup, line["scored"])
    check_rollouts(line["endpoint"], sent, scored)
    return Line(
        sent=sent,
        scored=scored,
        update=line["update"],
        endpoint=line["endpoint"],
        progress=line["progress"],
        fingerprint=line["fingerprint"],
        image=None,
        origin=Origin(
            experiment=line["experiment"],
            source=line["source"],
            received_s=line["received_s"],
            request_id=line["request_id"],
            scoring=_scoring(line),
            embedder=line["embedder"],
        ),
    )


def lasting(line: Json) -> bytes:
    """What identifies the group of a line, whichever export it comes from.

    Raises:
        UnusableLine: It is nested too deep.
    """
    try:
        return orjson.dumps([line.get(name) for name in LASTING], option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise UnusableLine(f"a field has a wrong form: {error}") from error


def _scoring(line: Json) -> Scoring | None:
    """The config of a line; None if it is not known, or another version's."""
    if line["config_label"] == UNKNOWN:
        return None
    try:
        return Scoring(line["config_label"], ScoringConfig.model_validate(line["config"]))
    except ValidationError:
        return None
