"""The fingerprints of one run: by them a client notices that its server no longer scores as it did."""

import json
import logging

from ireasoner.clients.errors import ScoringChanged
from ireasoner.clients.wire import Config

log = logging.getLogger(__name__)


class Fingerprints:
    """The fingerprint of each config at each server; the first one is kept. Clients and threads can share it.

    Args:
        accept_new: Take a new fingerprint with a warning instead of an error, for example while the servers of a
            long-lived service are upgraded one by one.
    """

    def __init__(self, accept_new: bool = False) -> None:
        self._accept_new = accept_new
        self._kept: dict[str, str] = {}

    def check(self, server: str, config: Config, fingerprint: str) -> None:
        """Keeps a config's first fingerprint; raises ScoringChanged for another one unless new ones are accepted."""
        name = config if isinstance(config, str) else json.dumps(dict(config), sort_keys=True)
        key = f"{server} config {name}"
        kept = self._kept.setdefault(key, fingerprint)
        if fingerprint == kept:
            return
        changed = ScoringChanged(key, kept, fingerprint)
        if not self._accept_new:
            raise changed
        log.warning("%s", changed)
        self._kept[key] = fingerprint
