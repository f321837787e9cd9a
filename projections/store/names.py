"""Names of agents and tasks for completion on a command line: at once, out of what lies there, or none.

Nothing is brought up to date, and nothing is written. What the views lack is looked for in the newest records.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from tallystick.events.log.store import StoreError
from tallystick.events.log.store_place import is_postgres
from tallystick.projections.store.names_in_rows import names_in
from tallystick.projections.store.runner import place_of

What = Literal["agents", "tasks"]
NAMES_MAX: Final = 200
_RECORDS: Final = 20_000
"""How many of the newest records are looked at where the views are missing or behind."""
_BEGINS: Final[dict[What, tuple[str, str]]] = {
    "agents": ("budget-allocated.", "agent"),
    "tasks": ("task-submitted.", "task"),
}
"""The event with which an agent or a task begins, and the field of its name."""
_LOCK_SECONDS: Final = 0.5


def names_of(url: str, what: What, begins_with: str) -> list[str]:
    """Up to `NAMES_MAX` names in a store that begin so, in their order; none where they cannot be read."""
    try:
        if is_postgres(url):
            from tallystick.projections.store.names_postgres import names_in_database

            return names_in_database(url, *_BEGINS[what], what, begins_with, _RECORDS)[:NAMES_MAX]
        place = place_of(url)
        if place is None or not place.log.exists():
            return []
        kept = dict.fromkeys(_in_views(Path(place.views), what, begins_with))
        found = kept | dict.fromkeys(_in_log(place.log, what, begins_with))
    except (sqlite3.Error, OSError, StoreError):
        return []
    return sorted(found)[:NAMES_MAX]


def _in_views(file: Path, what: What, begins_with: str) -> Iterator[str]:
    if not file.exists():
        return
    with closing(_opened(file)) as views:
        rows = views.execute(
            "SELECT id FROM kept WHERE copy = (SELECT copy FROM views WHERE side='live' AND view=?)"
            " AND substr(id, 1, ?) = ? AND json_extract(row, ?) = id ORDER BY id LIMIT ?",
            (what, len(begins_with), begins_with, f"$.{_BEGINS[what][1]}", NAMES_MAX),
        )
        yield from (name for (name,) in rows)


def _in_log(file: Path, what: What, begins_with: str) -> Iterator[str]:
    with closing(_opened(file)) as log:
        rows = log.execute(
            "SELECT topic, state FROM stored_events WHERE rowid > (SELECT MAX(rowid) - ? FROM stored_events)",
            (_RECORDS,),
        )
        yield from (name for name in names_in(rows, *_BEGINS[what]) if name.startswith(begins_with))


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)
