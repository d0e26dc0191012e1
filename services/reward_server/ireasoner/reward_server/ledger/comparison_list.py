"""The comparisons that `ireasoner rescore` left beside the ledgers."""

from ireasoner.reward_server.ledger.ledger_wire import ComparedGroups, Comparisons, ComparisonSort
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer, no_such


def comparisons(ledgers: Ledgers, viewer: Viewer) -> Comparisons:
    """Every comparison that the viewer may see."""
    return Comparisons(comparisons=[])


def compared_groups(
    ledgers: Ledgers, viewer: Viewer, name: str, sort: ComparisonSort, limit: int, cursor: str | None
) -> ComparedGroups:
    """A page of a comparison's groups; raises NoSuchRecord if the viewer may not see it."""
    raise no_such(name)
