"""Single events of a log, and the newest of some kinds before a position: for what the state does not keep."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import PAGE, Record


class Records(Protocol):
    """What can be read of a log: a `Store`, or `Taken`."""

    def read(self, after: int = 0, upto: int | None = None) -> Iterable[Record]: ...
    def record(self, position: int) -> Record | None: ...


class Taken:
    """The records of a log that are in memory, from the first."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def read(self, after: int = 0, upto: int | None = None) -> Iterable[Record]:
        return self.records[after:upto]

    def record(self, position: int) -> Record | None:
        return self.records[position - 1] if 0 < position <= len(self.records) else None


class Lookup:
    """A log to look things up in; ``fresh`` are its newest events, which are not among the records yet."""

    def __init__(self, records: Records, fresh: Sequence[Event] = ()) -> None:
        self._records = records
        self._fresh = fresh

    def event(self, position: int) -> Event | None:
        """The event at a position."""
        fresh = self._fresh
        if fresh and position >= fresh[0].position:
            place = position - fresh[0].position
            return fresh[place] if place < len(fresh) else None
        record = self._records.record(position)
        return None if record is None else event_of(record)

    def before(self, position: int, *kinds: type[Event], about: str | None = None) -> Iterator[Event]:
        """The events of these classes before a position, the newest first; ``about``: those that name this id."""
        for event in reversed(self._fresh):
            if event.position < position and isinstance(event, kinds):
                yield event
        upto = min(position, self._fresh[0].position if self._fresh else position) - 1
        names = {STORED_NAME[kind] for kind in kinds}
        named = b"" if about is None else msgspec.json.encode(about)
        while upto > 0:
            after = max(0, upto - PAGE)
            for record in reversed(list(self._records.read(after, upto))):
                if record.name in names and named in record.data:
                    yield event_of(record)
            upto = after
