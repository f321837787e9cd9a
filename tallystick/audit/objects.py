"""What is defined in a file of SQL tables, compared with what tallystick defines there.

A view that was redefined shows a reader with nothing but the ``sqlite3`` shell what is not in the log; a trigger
changes what is written.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory


class OddObject(Exception):
    """Something in a file that tallystick did not define so; the text names it."""


def odd_objects(file: Path, make: Callable[[str], object], before: Collection[str] = ()) -> Iterator[OddObject]:
    """What is defined otherwise in a file than in a new one, which ``make`` makes at a path; no data is read.

    ``before`` is the SQL of what older versions defined otherwise, which stays until the file is next written.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    with TemporaryDirectory() as folder:
        new = Path(folder) / "new.db"
        make(str(new))
        ours = defined_in(new)
    for name, (kind, sql) in defined_in(file).items():
        if name not in ours:
            yield OddObject(f"the {kind} {name} in {file} is none of tallystick's")
        elif ours[name] != (kind, sql) and sql not in before:
            yield OddObject(
                f"the {kind} {name} in {file} is defined otherwise than tallystick defines it: {sql or 'without SQL'}"
            )


def defined_in(file: Path) -> Mapping[str, tuple[str, str]]:
    """Kind and SQL of every table, view, index and trigger of a file, by name."""
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT name, type, sql FROM sqlite_master ORDER BY name").fetchall()
    return {name: (kind, sql or "") for name, kind, sql in found}
