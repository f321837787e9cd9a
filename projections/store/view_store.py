"""What every store of views does, and the one in memory; see `view_file` for the one on disk."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from tallystick.events.log.store import StoreError
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes
from tallystick.projections.views.view import Changes, Row


class Overtaken(Exception):
    """The views have been moved on, exchanged or dropped meanwhile: nothing of this page was written."""


class NotKept(StoreError):
    """The views' own file cannot be read or written; the log is not affected."""


class ViewsMissing(StoreError):
    """Some views are not there, or are of an older version: they must be made before the others can follow the log."""


class Kept(NamedTuple):
    """All live rows, by view, at the position that they have reached, and the digest of the record there."""

    position: int
    digest: str
    rows: Mapping[str, list[bytes]]


NOTHING_KEPT = Kept(0, "", {})


class ViewStore(Protocol):
    """What every store of views does. All views of these ``kinds`` move together."""

    kinds: ViewTypes

    def live(self) -> Kept:
        """The live rows of all views, as of one position.

        Raises:
            ViewsMissing: some views are not there.
            NotKept: they cannot be read, or a newer version of tallystick keeps them.
        """

    def row(self, view: str, id: str) -> bytes | None:
        """One row, live or not."""

    def whole(self, views: Iterable[str]) -> Kept:
        """All rows of some views, live or not, in the order of their ids, as of one position.

        Raises:
            NotKept: they cannot be read.
        """

    def between(self, view: str, first: str, behind: str) -> Kept:
        """The rows of a view, live or not, from the id ``first`` on, up to and without ``behind``, in their order.

        Raises:
            NotKept: they cannot be read.
        """

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        """Write what the events behind ``after`` up to ``position`` changed, all or nothing.

        Raises:
            Overtaken: the views are not, or no longer, at ``after``, or not those that were last read.
            NotKept: it could not be written.
        """

    def reset(self) -> None:
        """Forget everything, so that the views are made again from the first event."""

    def close(self) -> None:
        """Let go of what is held open."""


class MemoryViewStore:
    """Keeps rows as long as the process lives."""

    def __init__(self, kinds: ViewTypes = ALL_VIEWS) -> None:
        self.kinds = kinds
        self._rows: dict[str, dict[str, Row]] = {}
        self._position, self._digest = 0, ""

    def live(self) -> Kept:
        rows = {view: [row.data for _, row in sorted(kept.items()) if row.live] for view, kept in self._rows.items()}
        return Kept(self._position, self._digest, {view: live for view, live in rows.items() if live})

    def row(self, view: str, id: str) -> bytes | None:
        row = self._rows.get(view, {}).get(id)
        return None if row is None else row.data

    def whole(self, views: Iterable[str]) -> Kept:
        rows = {view: [row.data for _, row in sorted(self._rows.get(view, {}).items())] for view in views}
        return Kept(self._position, self._digest, rows)

    def between(self, view: str, first: str, behind: str) -> Kept:
        rows = [row.data for id, row in sorted(self._rows.get(view, {}).items()) if first <= id < behind]
        return Kept(self._position, self._digest, {view: rows})

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        if after != self._position:
            raise Overtaken(f"the views are at position {self._position}, not {after}")
        for view, rows in changes.items():
            kept = self._rows.setdefault(view, {})
            for id, row in rows.items():
                if row is None:
                    kept.pop(id, None)
                else:
                    kept[id] = row
        self._position, self._digest = position, digest

    def copy(self) -> "MemoryViewStore":
        """The same rows, which stay as they are while these go on."""
        made = MemoryViewStore(self.kinds)
        made._rows = {view: dict(rows) for view, rows in self._rows.items()}
        made._position, made._digest = self._position, self._digest
        return made

    def reset(self) -> None:
        self._rows.clear()
        self._position, self._digest = 0, ""

    def close(self) -> None:
        """Nothing is held but memory."""
