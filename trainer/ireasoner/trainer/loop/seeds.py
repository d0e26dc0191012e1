"""The seeds of a run's rollouts: no two rollouts of a run share one."""

from enum import IntEnum

_SEEDS_PER_UPDATE = 1_000_000


class Stream(IntEnum):
    """What a rollout is sampled for; each stream has seeds of its own in an update."""

    TRAINED = 0
    """The rollouts that the update trains on."""
    HELPER = 500_000
    """Those of the role that is not trained: questions for the Solver, answers for the Proposer."""
    VOTERS = 700_000
    """Those of a group that judges."""
    CONTRAST = 750_000
    """Those of a view that must change the answer."""
    PARAPHRASE = 800_000
    """Paraphrases for a group that judges."""
    REWORDING = 850_000
    """Paraphrases for views."""
    JUDGE = 900_000


class Seeds:
    """The seeds of one run.

    Args:
        seed: Seed of the run.
        group_size: Rollouts per group; a group takes as many consecutive seeds.
    """

    def __init__(self, seed: int, group_size: int) -> None:
        self._seed = seed
        self._group_size = group_size

    def first(self, update: int, index: int, stream: Stream = Stream.TRAINED) -> int:
        """Seed of the first rollout of group `index` of a stream in update `update`."""
        run_seed = self._seed * 1_000_003 + update
        start = int((run_seed * _SEEDS_PER_UPDATE + index * self._group_size) % 2**62)
        return start + stream
