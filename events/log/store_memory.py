"""The log in memory, on the library's in-memory recorder: for experiments and tests; nothing outlives the process."""

from collections.abc import Iterator, Sequence

from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder, POPOSubscription

from tallystick.events.log.store_contract import PAGE, SNAPSHOTS_KEPT, STREAM, Fenced, Record, Row


class MemorySources:
    """See `store_contract.SourceIndex`."""

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        self._upto = 0

    def find(self, source: str) -> int | None:
        return self._positions.get(source)

    def entries(self) -> Iterator[tuple[str, int]]:
        return iter(sorted(self._positions.items()))

    def upto(self) -> int:
        return self._upto

    def add(self, entries: Sequence[tuple[str, int]], upto: int) -> None:
        self._positions.update(entries)
        self._upto = upto

    def clear(self) -> None:
        self._positions.clear()
        self._upto = 0


class MemoryStore:
    """A fleet in memory; see `store_contract.Store` for what each method does."""

    def __init__(self) -> None:
        self.url = self.named = "memory:"
        self._log = POPOApplicationRecorder()
        self._snapshots: dict[int, bytes] = {}
        self.sources = MemorySources()

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        try:
            self._log.insert_events([StoredEvent(STREAM, *record) for record in records])
        except IntegrityError as error:
            raise Fenced(f"another writer has written to {self.url}: {error}") from error
        if sources:
            self.sources.add(sources, records[-1].position)

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        while True:
            page = self._log.select_notifications(after, PAGE, upto, inclusive_of_start=False)
            for stored in page:
                yield Record(stored.originator_version, stored.topic, stored.state)
            if len(page) < PAGE:
                return
            after = page[-1].id

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[Row]:
        return (Row(*record) for record in self.read(after, upto))

    def record(self, position: int) -> Record | None:
        return next(self.read(position - 1, position), None)

    def last(self) -> Record | None:
        newest = self._log.max_notification_id()
        return None if newest is None else self.record(newest)

    def lost(self) -> str | None:
        return None

    def away(self) -> str | None:
        return None

    def stray(self) -> str | None:
        return None

    def stage_snapshot(self, position: int, data: bytes) -> Iterator[None]:
        return iter(())

    def save_snapshot(self, position: int, data: bytes) -> None:
        # A later one is of a log that is gone, unless the log has come so far: then this one comes late.
        end = max(position, self._log.max_notification_id() or 0)
        kept = {old: state for old, state in self._snapshots.items() if old <= end} | {position: data}
        self._snapshots = {old: kept[old] for old in sorted(kept)[-SNAPSHOTS_KEPT:]}

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        return sorted(self._snapshots.items(), reverse=True)[:limit]

    def subscribe(self, after: int = 0) -> "MemorySubscription":
        return MemorySubscription(self._log, after)

    def close(self) -> None:
        """Nothing is held but memory."""


class MemorySubscription(POPOSubscription):
    """The library's subscription over its in-memory recorder."""

    def __init__(self, recorder: POPOApplicationRecorder, after: int) -> None:
        super().__init__(recorder, gt=after)
        self._has_been_notified.set()

    def __iter__(self) -> Iterator[Record]:  # type: ignore[override]
        for notification in iter(self.__next__, None):
            yield Record(notification.originator_version, notification.topic, notification.state)
