"""A log followed from its beginning: each record is proved to follow the one before it, and applied to a state."""

import datetime as dt
import sys
from collections.abc import Iterable, Iterator

from tallystick.events.catalog import Event
from tallystick.events.evolve import evolve
from tallystick.events.evolve.reports import evolve_all
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, unseal
from tallystick.events.log.reading import event_of
from tallystick.events.log.store_contract import Record
from tallystick.events.log.store_segments import Row, records_behind
from tallystick.events.log.whole_rows import whole
from tallystick.events.state.ledger import Ledger

_TOGETHER_MAX = 4_096
"""So many events of rows that were proved are applied in one go, or those of about so many bytes of rows."""
_TOGETHER_BYTES_MAX = 4 * 1024 * 1024
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What `evolve` may raise on an event that no decision led to."""

_Heads = dict[object, bytes]


def link(record: Record, before: bytes, expected: int, heads: _Heads) -> bytes:
    """The digest of a record, once it is proved to be the one at position ``expected`` and to follow ``before``.

    ``heads`` are kept by the caller from record to record. What the record says is not read.

    Raises:
        BrokenChain: it is not the next one, or not what was written.
    """
    position, name, data = record
    if position != expected:
        raise BrokenChain(expected, f"the record is missing: the next one in the store is at position {position}")
    if type(data) is not bytes:
        raise BrokenChain(position, "the record is stored as text: it is not the bytes that were written")
    digest = unseal(data, before, expected)
    head = heads.get(name)
    if head is None:
        head = heads[name] = f'{{"type":"{name}"'.encode()
    if not data.startswith(head):
        raise BrokenChain(position, f"the record is stored as {name!r}, but names another type itself")
    return digest


class Chain:
    """Records as they are read, up to the first that does not follow the one before: ``broken`` says why."""

    __slots__ = ("broken", "digest", "position")

    def __init__(self) -> None:
        self.position, self.digest = 0, GENESIS
        self.broken: BrokenChain | None = None

    def proved(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that follow one another."""
        heads: _Heads = {}
        try:
            for record in records:
                self.digest = link(record, self.digest, self.position + 1, heads)
                self.position = record.position
                yield record
        except BrokenChain as error:
            self.broken = error


class Replay:
    """A log applied record by record to a state, each proved to follow the one before it."""

    __slots__ = ("_ahead", "_ahead_bytes", "_ahead_digest", "_heads", "digest", "ledger")

    def __init__(self, ledger: Ledger | None = None, digest: bytes = GENESIS) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self.digest = self._ahead_digest = digest
        self._ahead: list[Event] = []
        """What was proved and is still to be applied, and the digest that it leads to."""
        self._ahead_bytes = 0
        self._heads: _Heads = {}

    def follow(self, rows: Iterable[Row], upto: int | None = None) -> None:
        """Let the state follow the rows of a store from the next record on, as far as ``upto``. The first of them may
        begin before that.

        Raises:
            BrokenChain: a record is missing, is not what was written, or cannot have happened.
        """
        after, last = self.ledger.position, sys.maxsize if upto is None else upto
        try:
            for row in rows:
                if row.position > last or not self._takes(row):
                    self._catch_up()
                    for record in records_behind(row, self.ledger.position):
                        if after < record.position <= last:
                            self.apply(self.prove(record))
                after = 0  # where another row than the first begins before, the log is broken
        finally:
            self._catch_up()  # where this fails too, it is what is wrong with the log first

    def _takes(self, row: Row) -> bool:
        """Prove a row as a whole, if it can be; its events are applied together with those of other rows."""
        position, digest, now = self.ledger.position, self.digest, self.ledger.now
        if self._ahead:
            position, digest, now = self._ahead[-1].position, self._ahead_digest, self._ahead[-1].at
        found = whole(row, position, digest, now)
        if found is None:
            return False
        self._ahead += found.events
        self._ahead_digest = found.digests[-1]
        self._ahead_bytes += len(row.state)
        if len(self._ahead) >= _TOGETHER_MAX or self._ahead_bytes >= _TOGETHER_BYTES_MAX:
            self._catch_up()
        return True

    def _catch_up(self) -> None:
        """Let the state follow what was proved."""
        if not self._ahead:
            return
        events, self._ahead, self._ahead_bytes = self._ahead, [], 0
        try:
            evolve_all(self.ledger, events)
        except _UNFIT as error:
            raise _unfit(self.ledger.position + 1, error) from error
        self.digest = self._ahead_digest

    def prove(self, record: Record) -> Event:
        """The event of the next record.

        Raises:
            BrokenChain: it is not the next one, or not what was written.
        """
        position = record.position
        digest = link(record, self.digest, self.ledger.position + 1, self._heads)
        event = event_of(record)
        if event.position != position:
            raise BrokenChain(position, f"the record says that it is at position {event.position}")
        if event.at < self.ledger.now:
            raise BrokenChain(position, f"its time, {event.at}, is before that of the event before it")
        self.digest = digest
        return event

    def apply(self, event: Event) -> None:
        """Let the state follow a proved event.

        Raises:
            BrokenChain: it cannot have happened in this state.
        """
        try:
            evolve(self.ledger, event)
        except _UNFIT as error:
            raise _unfit(event.position, error) from error


def _unfit(position: int, error: Exception) -> BrokenChain:
    return BrokenChain(position, f"the event cannot have happened: {type(error).__name__} {error}")


def replay_until(records: Iterable[Record], time: dt.datetime | None = None) -> Replay:
    """The state after the last record, or after the last that is not later than ``time``.

    Raises:
        BrokenChain: a record on the way is not what was written.
    """
    replay = Replay()
    for record in records:
        digest = replay.digest
        event = replay.prove(record)
        if time is not None and event.at > time:
            replay.digest = digest
            break
        replay.apply(event)
    return replay
