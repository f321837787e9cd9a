"""What was asked and answered before: a repeated id gets the recorded answer."""

from collections.abc import Sequence

from tallystick.actors.runtime.pending import refused
from tallystick.events.log.codec import exchange_of, is_same
from tallystick.events.log.sealing import Line
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger


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


def answered_before(id: str, asked: bytes, position: int, lines: Sequence[Line], store: Store, ledger: Ledger) -> bytes:
    """The answer to an id that was used before, at a position.

    Raises:
        StoreError: the store cannot be read.
    """
    return _repeated(id, asked, _exchange_at(position, lines, store, ledger), position)


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
