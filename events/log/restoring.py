"""The state that a log adds up to: the newest snapshot that the log vouches for, and the tail behind it."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tallystick.events.catalog import STORED_NAME, SnapshotRecorded
from tallystick.events.log import snapshot
from tallystick.events.log.codec import GENESIS, digest_of
from tallystick.events.log.reading import event_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import SNAPSHOTS_KEPT, Row, Store
from tallystick.events.log.store_segments import records_behind
from tallystick.events.state.ledger import Ledger

_RECORDED: Final = STORED_NAME[SnapshotRecorded]


class Opened(NamedTuple):
    """The state as of the newest record, and that record's digest."""

    ledger: Ledger
    digest: bytes


def open_ledger(store: Store, upto: int | None = None) -> Opened:
    """The state that a store's log adds up to; with ``upto``, as of that position.

    Raises:
        BrokenChain: the records behind the snapshot do not follow one another.
        StoreError: the store could not be read.
    """
    with _no_collecting():
        ledger, digest = _from_snapshot(store, upto)
        try:
            return Opened(ledger, replay(ledger, digest, store.rows(ledger.position, upto), upto))
        finally:
            # It is left out of later searches for garbage too (until `Fleet.close` lets them see it again).
            gc.freeze()


@contextmanager
def _no_collecting() -> Iterator[None]:
    """A state that is being built holds no garbage, and looking for some takes longer than to build it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def replay(ledger: Ledger, digest: bytes, rows: Iterable[Row], upto: int | None = None) -> bytes:
    """Apply the records of rows to a state, each proved to follow the one before; the digest of the last.

    Raises:
        BrokenChain: a record is missing, moved or changed.
    """
    proof = Replay(ledger, digest)
    with _no_collecting():
        proof.follow(rows, upto)
    return proof.digest


def _from_snapshot(store: Store, upto: int | None) -> Opened:
    """The newest snapshot whose hash is in the log, and that is of no later state, else the beginning."""
    # Each may be large, and the newest will nearly always do: an older one is fetched only where it does not.
    for place in range(SNAPSHOTS_KEPT):
        found = store.snapshots(place + 1)
        if len(found) <= place:
            break
        position, data = found[place]
        if upto is not None and position > upto:
            continue
        record = store.record(position)
        if record is not None and _is_vouched_for(store, position, snapshot.fingerprint(data)):
            ledger = snapshot.load(data)
            if ledger is not None and ledger.position == position:
                return Opened(ledger, digest_of(record.data))
    return Opened(Ledger(), GENESIS)


def _is_vouched_for(store: Store, position: int, sha256: str) -> bool:
    """Whether the hash of a snapshot is in the log. That of a large state is written when it is made, however many
    records have come meanwhile; so rows are looked through to the end, and read only where one is in them.
    """
    name, before = _RECORDED.encode(), position
    for row in store.rows(position):
        if type(row.state) is bytes and name in row.state:
            for record in records_behind(row, before):
                if record.name == _RECORDED:
                    event = event_of(record)
                    if isinstance(event, SnapshotRecorded) and event.upto == position:
                        return event.sha256 == sha256
        before = row.position
    return False
