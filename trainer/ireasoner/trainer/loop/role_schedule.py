"""Which role an update trains, and on how many groups."""

from ireasoner.trainer.settings import Role, RunSettings


def role_at(settings: RunSettings, update: int) -> Role:
    """The role that update `update` (from 0) trains: the Proposer's comes after `proposer_every` of the Solver."""
    cycle = settings.proposer_every + 1
    return "proposer" if settings.proposer_every and update % cycle == settings.proposer_every else "solver"


def groups_at(settings: RunSettings, update: int) -> int:
    """The number of groups that update `update` (from 0) trains on."""
    if role_at(settings, update) == "proposer" and settings.proposer_groups_per_update is not None:
        return settings.proposer_groups_per_update
    return settings.groups_per_update
