"""Views that are kept beside the log: written exactly once, and exchanged in one transaction.

Two *sides* may lie there. The ``live`` views are those that people read; beside them, out of sight, ``rebuilt`` ones
may grow. All views of a side move together: the rows that a page of events changed and the position that the page
reached are written in one transaction, so that the next process goes on exactly there.
"""

import hashlib
import sqlite3
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

from eventsourcing.persistence import IntegrityError, PersistenceError

from tallystick.projections.store.view_sides import LIVE, KeptRow, Side, SideState, ViewTables
from tallystick.projections.store.view_store import Kept, NotKept, Overtaken, ViewsMissing
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes, versions_of
from tallystick.projections.views.view import Changes, Progress


class Reached(NamedTuple):
    """How far views have come: a position, and the digest of the record there; 0 and "" for nowhere."""

    position: int
    digest: str


class KeptView(NamedTuple):
    """A view as it is kept: its version, its rows, their bytes, and the SHA-256 of the rows.

    The hash is over a line ``id|live|row`` for each row, in the order of their ids: what the ``sqlite3`` shell prints.
    """

    version: int
    rows: int
    bytes: int
    sha256: str


class Inventory(NamedTuple):
    """What lies on one side: how far it has come, and its views by name."""

    reached: Reached
    views: Mapping[str, KeptView]


class KeptViews:
    """One side of the views that are kept for a log; a kind for each place.

    Raises:
        NotKept: they cannot be written, or something else is there.
    """

    def __init__(self, named: str, kinds: ViewTypes = ALL_VIEWS, side: Side = LIVE) -> None:
        self.kinds = kinds
        self._versions = versions_of(kinds)
        self._named, self._side = named, side
        with self._as_not_kept("opened"):
            self._tables = self._opened()
            try:
                self._tables.prepare()
                self._read: SideState = self._tables.found(side)
                """The side as it was when this was last restored from it."""
            except BaseException:
                self._tables.close()
                raise

    @abstractmethod
    def _opened(self) -> ViewTables:
        """The tables in which the views are kept."""

    @abstractmethod
    def beside(self) -> Self:
        """The rebuilt side of the same place."""

    # --- what is there ------------------------------------------------------------------------------------------------

    def reached(self) -> Reached:
        """How far the views have come, whatever their versions."""
        with self._as_not_kept("read"):
            found = self._tables.found(self._side)
        return Reached(found.position, found.digest)

    def versions(self) -> Mapping[str, int]:
        """The versions of the views that are there, ours or not."""
        with self._as_not_kept("read"):
            return self._tables.found(self._side).versions

    def missing(self) -> list[str]:
        """The names of our views that are not there, or of an older version.

        Raises:
            NotKept: there are views that are newer than ours, or that we do not know.
        """
        with self._as_not_kept("read"):
            found = self._tables.found(self._side)
        return self._missing(found)

    def live(self) -> Kept:
        with self._as_not_kept("read"):
            found, rows = self._tables.live(self._side)
        if missing := self._missing(found):
            raise ViewsMissing(f"the views in {self._named} lack {', '.join(missing)}")
        self._read = found
        return Kept(found.position, found.digest, rows)

    def row(self, view: str, id: str) -> bytes | None:
        with self._as_not_kept("read"):
            return self._tables.row(self._side, view, id)

    def whole(self, views: Iterable[str]) -> Kept:
        with self._as_not_kept("read"):
            found, rows = self._tables.whole(self._side, views)
        return Kept(found.position, found.digest, rows)

    def between(self, view: str, first: str, behind: str) -> Kept:
        with self._as_not_kept("read"):
            found, rows = self._tables.between(self._side, view, first, behind)
        return Kept(found.position, found.digest, {view: rows})

    @contextmanager
    def reading(self) -> Iterator[tuple[Reached, Mapping[str, int], Iterator[tuple[str, KeptRow]]]]:
        """As of one moment: how far the views have come, their versions, and all rows, by view, in the order of ids."""
        with self._as_not_kept("read"), self._tables.reading(self._side) as (found, _, rows):
            yield Reached(found.position, found.digest), found.versions, rows

    def inventory(self, progress: Progress | None = None) -> Inventory:
        """What lies there, ours or not, as of one moment: all of it is read."""
        with self._as_not_kept("read"), self._tables.reading(self._side) as (found, total, rows):
            counted = rows if progress is None else progress(rows, total)
            counts, sizes = dict.fromkeys(found.versions, 0), dict.fromkeys(found.versions, 0)
            hashes = {view: hashlib.sha256() for view in found.versions}
            for view, row in counted:
                counts[view] += 1
                sizes[view] += len(str(row.row).encode())
                hashes[view].update(f"{row.id}|{row.live}|{row.row}\n".encode())
        held = {
            view: KeptView(version, counts[view], sizes[view], hashes[view].hexdigest())
            for view, version in found.versions.items()
        }
        return Inventory(Reached(found.position, found.digest), held)

    def _missing(self, found: SideState) -> list[str]:
        ours = self._versions
        for view, version in found.versions.items():
            if version > ours.get(view, 0):
                raise NotKept(
                    f"the views in {self._named} are kept by a newer version of tallystick: it has version {version} of"
                    f" {view}, and this one {f'version {ours[view]}' if view in ours else 'no such view'}"
                )
        return [view for view, version in ours.items() if found.versions.get(view) != version]

    # --- changes ------------------------------------------------------------------------------------------------------

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        with self._as_not_kept("written"):
            self._tables.keep(self._side, self._read, changes, after, position, digest)

    def reset(self) -> None:
        with self._as_not_kept("written"):
            self._read = self._tables.begin(self._side, self._versions)

    def clear(self) -> None:
        """Forget the views of this side, and begin none."""
        with self._as_not_kept("written"):
            self._read = self._tables.begin(self._side, {})

    def exchange(self, names: Sequence[str], at: int) -> Mapping[str, int]:
        """Put this side's views of these names in the place of the live ones, both at ``at``, in one transaction.

        What else lies on this side is forgotten. Returned are the versions that were live before, by view.

        Raises:
            Differs: one that was live in the same version has other bytes; nothing was exchanged.
            Overtaken: the two sides are not, or no longer, at that position of the same log.
            NotKept: it could not be written.
        """
        with self._as_not_kept("written"):
            return self._tables.exchange(names, self._read, at)

    def drop(self, names: Sequence[str] | None) -> list[str]:
        """Forget these live views, or all that lies in the file; the names of those that were there."""
        with self._as_not_kept("written"):
            return self._tables.drop(names)

    def close(self) -> None:
        self._tables.close()

    @contextmanager
    def _as_not_kept(self, what: str) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Overtaken(str(error)) from error
        except (PersistenceError, sqlite3.Error, OSError) as error:
            raise NotKept(f"the views in {self._named} could not be {what}: {error}") from error
