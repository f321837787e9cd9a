"""Snapshots of the state, for a quick restart."""

import logging

import structlog

from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.log.store import Store, StoreError
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.manager"))


def keep_snapshot(ledger: Ledger, store: Store) -> p.RecordSnapshot | None:
    """Keep the state, and what is to be recorded of it: its hash. Where that fails, the fleet goes on."""
    position = ledger.position
    data = snapshot.dump(ledger)
    try:
        store.save_snapshot(position, data)
        store.sources.add((), position)
    except StoreError as error:
        log.warning("snapshot_not_kept", position=position, reason=str(error))
        return None
    id = c.internal_id(f"snapshot-{position}")
    return p.RecordSnapshot(position=position, sha256=snapshot.fingerprint(data), id=id)
