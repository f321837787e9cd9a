"""Snapshots of the state, for a quick restart."""

import logging

import msgspec
import structlog

from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.log.store import Store, StoreError
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.manager"))


class Made(msgspec.Struct, frozen=True, gc=False):
    """A snapshot of the state at a position: its SHA-256, as the log records it, and its bytes, as they are stored."""

    position: int
    sha256: str
    data: bytes


def made_of(ledger: Ledger) -> Made:
    """A snapshot of a state."""
    data = snapshot.dump(ledger)
    return Made(ledger.position, snapshot.fingerprint(data), snapshot.packed(data))


class Coming:
    """A snapshot that is written into the store in parts, before it is kept."""

    __slots__ = ("_parts", "made")

    def __init__(self, made: Made, store: Store) -> None:
        self.made = made
        self._parts = store.stage_snapshot(made.position, made.data)

    def is_there(self) -> bool:
        """Write the next part; whether all are written. Where that fails, `keep_snapshot` says why, or writes it whole.

        It fails in the manager's turn, so nothing is raised.
        """
        try:
            next(self._parts)
        except (StopIteration, StoreError):
            return True
        return False


def keep_snapshot(made: Made, store: Store) -> p.RecordSnapshot | None:
    """Keep a snapshot, and what is to be recorded of it: its hash. Where that fails, the fleet goes on."""
    try:
        store.save_snapshot(made.position, made.data)
        if store.sources.upto() < made.position:  # of one that comes late, more is known already
            store.sources.add((), made.position)
    except StoreError as error:
        log.warning("snapshot_not_kept", position=made.position, reason=str(error))
        return None
    id = c.internal_id(f"snapshot-{made.position}")
    return p.RecordSnapshot(position=made.position, sha256=made.sha256, id=id)
