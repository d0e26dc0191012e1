"""The groups of texts that every framework's test has scored."""

from tests.reward_server.requests import rollout

GROUPS = {
    "How much is 3 + 4? Put the answer into <answer></answer>.": [
        rollout("7", "east", "north"),
        rollout("7", "northeast", "north"),
        rollout("7", "east", "east north north"),
        rollout("8", "west"),
        rollout(None, "south"),
    ],
    "How much is 9 - 4?": [
        rollout("5", "south"),
        rollout("6", "west", "east"),
        rollout("5", "east north"),
        rollout("5", "east north"),
        rollout("6", "west", "northeast"),
    ],
}
"""By prompt; one holds two rollouts that are the same."""
