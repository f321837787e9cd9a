"""What was asked and answered before: a repeated id gets the recorded answer."""

from collections.abc import Sequence

from tallystick.actors.runtime.pending import refused
from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.log.codec import exchange_of, is_same, seal
from tallystick.events.log.store import Record, Store
from tallystick.events.state.ledger import Ledger

Origin = tuple[bytes | None, str | None]
"""Which process asked, if another one did, and in which trace, if that is known."""
Line = tuple[Event, bytes | None, bytes | None, Origin | None]
"""An event, and on the first of a command what was asked and answered, and where it came from."""


def records_of(lines: Sequence[Line], digest: bytes) -> tuple[list[Record], bytes]:
    """The records of some lines, chained to the digest before them, and the digest of the last."""
    records = []
    for event, asked, answered, origin in lines:
        peer, trace = origin or (None, None)
        data, digest = seal(event, asked, answered, digest, peer, trace)
        records.append(Record(event.position, STORED_NAME[type(event)], data))
    return records, digest


def _repeated(id: str, asked: bytes, before: tuple[bytes, bytes] | None, position: int) -> bytes:
    """The recorded outcome of an id that was used before; another body under the same id is a conflict."""
    if before is None:
        return refused("idempotency_conflict", f"{id} names something that the fleet did itself", id=id)
    if before[0] != asked and not is_same(before[0], asked):
        return refused(
            "idempotency_conflict",
            f"{id} was used before for another message, at position {position}: choose a new id",
            id=id,
            position=position,
        )
    return before[1]


def answered_before(id: str, asked: bytes, lines: Sequence[Line], store: Store, ledger: Ledger) -> bytes | None:
    """The answer to an id that was used before; None for a new one.

    Raises:
        StoreError: the store cannot be read.
    """
    position = ledger.ids.get(id)
    return None if position is None else _repeated(id, asked, _exchange_at(position, lines, store, ledger), position)


def _exchange_at(position: int, lines: Sequence[Line], store: Store, ledger: Ledger) -> tuple[bytes, bytes] | None:
    """What was asked and answered at a position, in the batch at hand (``lines``) or in the store."""
    first = lines[0][0].position if lines else ledger.position + 1
    if position >= first:
        _, asked, answered, _ = lines[position - first]
        return None if asked is None or answered is None else (asked, answered)
    record = store.record(position)
    assert record is not None, f"the log has no record at {position}"
    exchange = exchange_of(record.data)
    asked, answered = bytes(exchange.command), bytes(exchange.reply)
    return (asked, answered) if asked and answered else None
