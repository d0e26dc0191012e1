"""The memory that scoring takes, computed from counts before anything is allocated.

The factors are upper bounds of what tracemalloc counts; a test compares them. U is the number of distinct steps, D the
embedding dimensions, S the number of steps.
"""

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement.alignment import AT_ONCE
from ireasoner.reward_server.scoring.read_group import ReadGroup

STEP_BYTES = 100
"""A parsed step: its text's object, its index in its rollout and its number."""
ROLLOUT_BYTES = 2_000
"""A parsed rollout and its part of the response."""
ROW_BYTES = 4
"""A number of an embedding."""
VECTOR_BYTES = 32
"""A number of a vector: single and double precision, centred, and scaled."""
TEXT_BYTES = 400
"""A distinct text in the queue, besides its embedding."""
JUDGED_BYTES = 60
"""A compared step's cosine, credit, weight and slot, and what they are computed from."""
JUDGING_BYTES = 160
"""A compared step while its group is judged."""
WRITTEN_BYTES = 260
"""A step in the response, which is written twice: as part of its rollout, and in the whole."""
PARTS_BYTES = 8 * 8 * AT_ONCE
"""Arrays that are computed in parts."""
UNCOUNTED_BYTES = 2 * 2**20
"""Of judging a group: small groups are judged one after another, so they take this once, however many requests wait."""


def of_reading(group: ReadGroup) -> int:
    """Bytes of a group as it was read."""
    return STEP_BYTES * group.steps + ROLLOUT_BYTES * len(group.rollouts)


def of_judging(groups: list[ReadGroup], dimension: int) -> int:
    """Bytes of the embeddings of all groups, of what was judged, and of the largest group while it is judged."""
    kept = sum(
        (ROW_BYTES * dimension + TEXT_BYTES) * len(group.distinct_steps) + JUDGED_BYTES * len(group.step_rows)
        for group in groups
    )
    return kept + max(_while_judged(group, dimension) for group in groups)


def of_writing(groups: list[ReadGroup], detail: wire.Detail) -> int:
    """Bytes of the steps in a response."""
    if detail != "full":
        return 0
    return sum(WRITTEN_BYTES * group.steps + 2 * group.step_characters for group in groups)


def _while_judged(group: ReadGroup, dimension: int) -> int:
    vectors = VECTOR_BYTES * dimension * len(group.distinct_steps)
    numbers = JUDGING_BYTES * len(group.step_rows)
    parts = min(PARTS_BYTES, 64 * dimension * (len(group.step_rows) + 16))
    return max(0, vectors + numbers + parts - UNCOUNTED_BYTES)
