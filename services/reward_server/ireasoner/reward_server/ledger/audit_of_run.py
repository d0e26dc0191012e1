"""The audit of one run, for the read API."""

from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.ledger import visible
from ireasoner.reward_server.ledger.auditing import audit_run
from ireasoner.reward_server.ledger.ledger_wire import Audit
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer


def audit_of(ledgers: Ledgers, viewer: Viewer, record: RecordId) -> Audit:
    """What `ireasoner audit` says of a run, less the figures of its texts, which take seconds.

    Raises NoSuchRecord if the viewer may not see it.
    """
    with ledgers.of(record).reading() as connection:
        visible.run(connection, record, viewer)
        audited = audit_run(connection, record.row, Thresholds(), reads_texts=False)
    return Audit.model_validate({"run": str(record), **audited.as_json()})
