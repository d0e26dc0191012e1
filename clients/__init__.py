"""Clients of the reward server; importing this package loads nothing heavier than httpx."""

from clients.async_client import AsyncRewardClient
from clients.errors import (
    BadAnswer,
    ConnectionBroken,
    Fault,
    NotReady,
    Overloaded,
    RequestRefused,
    RewardError,
    ServerFailed,
    ServerProblem,
    TimedOut,
    Unavailable,
    Unreachable,
)
from clients.sync_client import RewardClient
from clients.wire import (
    Cluster,
    Config,
    Detail,
    Endpoint,
    Group,
    Rollout,
    ScoredGroup,
    ScoredRollout,
    ScoredStep,
    ScoreResponse,
    Status,
)

__all__ = [
    "AsyncRewardClient",
    "BadAnswer",
    "Cluster",
    "Config",
    "ConnectionBroken",
    "Detail",
    "Endpoint",
    "Fault",
    "Group",
    "NotReady",
    "Overloaded",
    "RequestRefused",
    "RewardClient",
    "RewardError",
    "Rollout",
    "ScoreResponse",
    "ScoredGroup",
    "ScoredRollout",
    "ScoredStep",
    "ServerFailed",
    "ServerProblem",
    "Status",
    "TimedOut",
    "Unavailable",
    "Unreachable",
]
