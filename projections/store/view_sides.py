"""The two sides on which views are kept, and what every place for them does: a file, or the tables of a database."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, NamedTuple, Protocol

from tallystick.projections.views.view import Changes

Side = Literal["live", "rebuilt"]
LIVE: Final = "live"
"""The side that people read."""
REBUILT: Final = "rebuilt"
"""The side that grows beside it."""


class SideState(NamedTuple):
    """A side: versions and copies of its views by name, the position of all of them, the digest there, the epoch."""

    versions: Mapping[str, int]
    copies: Mapping[str, int]
    position: int
    digest: str
    epoch: int


class KeptRow(NamedTuple):
    """A row as it is kept; if somebody changed a file by hand, its values may be of any type."""

    id: object
    live: object
    row: object


class Difference(NamedTuple):
    """The first row, by id, of a view that is not the same on both sides; None where a side has no such row."""

    view: str
    live: KeptRow | None
    rebuilt: KeptRow | None


class Differs(Exception):
    """The rebuilt bytes are not the live ones: nothing was exchanged."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference)
        self.difference = difference


class ViewTables(Protocol):
    """Rows, versions and positions of views on two sides, written together, in a place that outlives the process.

    A side's *epoch* is raised whenever its views are exchanged, dropped or begun anew: a process that read them before
    that can no longer write. Each method is one transaction.

    Raises:
        PersistenceError: the place cannot be read or written.
    """

    def prepare(self) -> None:
        """Make the tables, if they are not there."""

    def found(self, side: Side) -> SideState:
        """A side, as it is."""

    def live(self, side: Side) -> tuple[SideState, dict[str, list[bytes]]]:
        """A side, and the live rows of its views by name, in the order of their ids."""

    def row(self, side: Side, view: str, id: str) -> bytes | None:
        """One row, live or not."""

    def whole(self, side: Side, views: Iterable[str]) -> tuple[SideState, dict[str, list[bytes]]]:
        """A side, and all rows of some of its views by name, in the order of their ids."""

    def between(self, side: Side, view: str, first: str, behind: str) -> tuple[SideState, list[bytes]]:
        """A side, and the rows of a view from the id ``first`` on, without ``behind``, in the order of their ids."""

    def reading(self, side: Side) -> AbstractContextManager[tuple[SideState, int, Iterator[tuple[str, KeptRow]]]]:
        """A side as of one moment: how many rows it has, and all of them, by view, in the order of their ids."""

    def keep(
        self, side: Side, read: SideState, changes: Mapping[str, Changes], after: int, position: int, digest: str
    ) -> None:
        """Write a page, if the side is still the one that was ``read``, and at ``after``.

        Raises:
            Overtaken, IntegrityError: it is not.
        """

    def begin(self, side: Side, versions: Mapping[str, int]) -> SideState:
        """Begin a side anew, at position 0, with these views; with none it is gone."""

    def exchange(self, names: Sequence[str], read: SideState, at: int) -> Mapping[str, int]:
        """Put views of the rebuilt side, as it was ``read``, in the place of the live ones, and drop the rest of it.

        The versions that were live before, by view.

        Raises:
            Differs: the bytes of one that was live in the same version are not the same.
            Overtaken: the two sides are not, or no longer, at position ``at`` of the same log.
        """

    def drop(self, names: Iterable[str] | None) -> list[str]:
        """Remove live views, or all that is kept; the names of those that were there."""

    def close(self) -> None:
        """Let go of what is held open."""
