"""Every row of views that are kept, compared with what the log comes to: they are made anew in a file of their own."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from tallystick.events.log.store import Store
from tallystick.projections.store.projector import Projector, is_of
from tallystick.projections.store.runner import kept_views, place_of
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_sides import KeptRow
from tallystick.projections.store.view_tables import LAYOUT
from tallystick.projections.views.view import Progress
from tallystick.whatif.mismatch import Field, unlike

ODD_ROWS_MAX = 20
"""Rows that are named; the rest is counted."""


class OddRow(NamedTuple):
    """A row that is not what the log comes to at ``position``."""

    view: str
    row: str
    position: int
    reason: str
    fields: list[Field]

    def __str__(self) -> str:
        return f"view {self.view}, row {self.row} (at position {self.position}): {self.reason}"


class Compared(NamedTuple):
    """What became of the comparison. ``skipped`` says why some views were not compared."""

    position: int = 0
    views: int = 0
    rows: int = 0
    odd: int = 0
    named: tuple[OddRow, ...] = ()
    skipped: tuple[str, ...] = ()


def compared_rows(store: Store, progress: Progress | None = None) -> Compared:
    """Compare all live views that are kept for a store. Nothing is written there.

    Raises:
        NotKept: it cannot be read.
        BrokenChain: the log cannot be read up to where the views are.
    """
    place = place_of(store.url)
    if place is not None and _layout(Path(place.views)) != LAYOUT:
        return Compared(skipped=("the views were kept by another version of tallystick: not compared",))
    live = kept_views(store.url)
    assert live is not None, "the views of a store in memory are not compared"
    with contextlib.closing(live), live.reading() as (reached, versions, rows):
        if not reached.position or not is_of(store, reached.position, reached.digest):
            return Compared(skipped=("the views are not of this log, or empty: not compared",))
        with TemporaryDirectory() as folder, contextlib.closing(ViewFile(str(Path(folder) / "anew"))) as anew:
            anew.reset()
            Projector(store, anew).catch_up(reached.position, progress)
            with anew.reading() as (_, ours, made):
                same = {view for view, version in versions.items() if ours.get(view) == version}
                skipped = tuple(
                    f"the view {view} is of version {version}, and not of ours: not compared"
                    for view, version in versions.items()
                    if view not in same
                )
                kept = ((view, row) for view, row in rows if view in same)
                anew_rows = ((view, row) for view, row in made if view in same)
                return _compare(kept, anew_rows, reached.position)._replace(views=len(same), skipped=skipped)


def _compare(live: Iterator[tuple[str, KeptRow]], made: Iterator[tuple[str, KeptRow]], position: int) -> Compared:
    """Two lots side by side, each by view and in the order of ids."""
    named: list[OddRow] = []
    count = odd = 0
    one, other = next(live, None), next(made, None)
    while one is not None or other is not None:
        here, there = _key(one), _key(other)
        kept = one[1] if one is not None and (there is None or (here is not None and here <= there)) else None
        ours = other[1] if other is not None and (here is None or (there is not None and there <= here)) else None
        view = one[0] if kept is not None and one is not None else other[0] if other is not None else ""
        count += kept is not None
        if kept != ours:
            odd += 1
            if len(named) < ODD_ROWS_MAX:
                named.append(_odd(view, kept, ours, position))
        one = next(live, None) if kept is not None else one
        other = next(made, None) if ours is not None else other
    return Compared(position, rows=count, odd=odd, named=tuple(named))


def _key(entry: tuple[str, KeptRow] | None) -> tuple[str, int, str] | None:
    """The order in which rows are given: by view, and numbers that somebody put there before texts."""
    if entry is None:
        return None
    view, row = entry
    return (view, isinstance(row.id, str), str(row.id))


def _odd(view: str, kept: KeptRow | None, ours: KeptRow | None, position: int) -> OddRow:
    if ours is None:
        assert kept is not None
        return OddRow(view, str(kept.id), position, "the log comes to no such row", [])
    if kept is None:
        return OddRow(view, str(ours.id), position, "the row is missing", [])
    fields = list(unlike(_content(kept), _content(ours)))
    shown = "; ".join(
        f"{one.path} is {_text(one.recorded)}, and the log comes to {_text(one.decided)}" for one in fields
    )
    return OddRow(view, str(ours.id), position, shown or "its bytes are others", fields)


def _content(row: KeptRow) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(row.row) if isinstance(row.row, str | bytes) else row.row
    except msgspec.DecodeError:
        content = row.row
    fields: dict[str, Any] = content if isinstance(content, dict) else {"row": content}
    return fields if row.live in (0, 1) else {**fields, "live": row.live}


def _text(value: Any) -> str:
    return "absent" if value is None else str(value)


def _layout(file: Path) -> int:
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found: int = connection.execute("PRAGMA user_version").fetchone()[0]
            return found
    except sqlite3.Error:
        return 0
