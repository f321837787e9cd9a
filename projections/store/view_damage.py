"""A file of views that is damaged: found out, and moved out of the way, because all that is in it can be made again."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tallystick.events.log.store_place import VIEWS_APPLICATION
from tallystick.projections.store.view_tables import LAYOUT, TABLES

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_PRIMARY = 0xFF
"""The part of SQLite's error code that says what kind it is."""
_LOCK_SECONDS = 5


def damage_of(views: Path) -> str | None:
    """What is wrong with a file of views, in words; None where it is sound, is not there, or is no file of views.

    All of it is read. A file that cannot be read at the moment, because it is locked, is not damaged.
    """
    if not views.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{views.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (layout,) = connection.execute("PRAGMA user_version").fetchone()
            if application != VIEWS_APPLICATION or layout != LAYOUT:
                return None
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if gone := TABLES - there:
                return f"it lacks {', '.join(sorted(gone))}"
            (sides,) = connection.execute("SELECT COUNT(*) FROM sides WHERE side IN ('live', 'rebuilt')").fetchone()
            if sides != 2:
                return "it does not say how far its views have come"
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        broken = getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _BROKEN
        return str(error) if broken else None
    return None if found == "ok" else str(found)


def set_aside(views: Path) -> Path | None:
    """Move a damaged file of views to ``FILE.damaged``, in the place of an earlier one; where it is now.

    None where it is not damaged: nothing is moved then.

    Raises:
        OSError: it cannot be moved.
    """
    if damage_of(views) is None:
        return None
    aside = views.with_name(f"{views.name}.damaged")
    views.replace(aside)
    for suffix in ("-wal", "-shm"):
        views.with_name(views.name + suffix).unlink(missing_ok=True)
    return aside
