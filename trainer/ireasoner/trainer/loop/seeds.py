"""The seeds of a run's rollouts: no two rollouts of a run share one."""

from enum import IntEnum
from itertools import pairwise

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.settings import RunSettings

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


def check_seeds(settings: RunSettings) -> None:
    """Refuses updates that are too large for the seeds of their streams.

    Raises:
        SettingsError: They are; the message names the setting.
    """
    room = min(stop - start for start, stop in pairwise([*Stream, _SEEDS_PER_UPDATE]))
    if settings.rollouts_per_update > room:
        raise SettingsError(
            f"groups_per_update: an update of {settings.rollouts_per_update:,} rollouts is too large: the largest has "
            f"{room:,}"
        )
    groups = settings.proposer_groups_per_update or settings.groups_per_update
    answers, room = groups * settings.group_size**2, Stream.VOTERS - Stream.HELPER
    if settings.proposer_every and answers > room:
        raise SettingsError(
            f"proposer_groups_per_update: a Proposer update with {answers:,} answers is too large: the largest has "
            f"{room:,}"
        )
