"""Where a fleet's file lies: one name for it, however it is spelled, and whether it is still there."""

import os
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tallystick.events.log.store_contract import StoreError

APPLICATION = 0x74616C6C
"""The application id of a fleet's file: "tall"."""
VIEWS_APPLICATION = 0x74616C79
"""That of the file of its views: "taly"."""
_TABLES = frozenset({"stored_events", "writer"})
"""What a fleet's file holds; one from before the application id is known by them."""
_BESIDE = ("-wal", "-shm")
_LOCK_SECONDS = 5

_POSTGRES: Final = ("postgresql://", "postgres://")
_PASSWORDS: Final = ("password", "sslpassword")
_WITH_PORT: Final = re.compile(r"[^@/]*:(?!\d*(/|$))")
"""What stands before a host's name and is no port."""
_ALLOWED: Final = "sqlite:///FILE, postgresql://HOST/DATABASE?fleet=NAME and memory:"

Identity = tuple[int, int]
"""A file, whatever it is called: its device and its number there."""


def is_postgres(url: str) -> bool:
    """Whether a store's URL names a fleet in a PostgreSQL database.

    Raises:
        StoreError: it does, and the packages of the extra are not installed.
    """
    if not url.startswith(_POSTGRES):
        return False
    try:
        import psycopg  # noqa: F401
        import psycopg_pool  # noqa: F401
    except ImportError:
        raise StoreError("PostgreSQL needs more packages: pip install 'tallystick[postgres]'") from None
    return True


def is_in_memory(url: str) -> bool:
    """Whether a store's URL names one that no other process can read."""
    return url == "memory:"


def shown(url: str) -> str:
    """A store's URL to be shown: without its passwords."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place, mark, query = rest.partition("?")
    if "@" in query and _WITH_PORT.match(place):  # a question mark that is part of the password
        place, mark, query = rest, "", ""
    before, slash, path = place.partition("/")
    if "@" in path:  # the same of a slash
        before, slash, path = place.rpartition("@")[0] + "@", "", place.rpartition("@")[2]
    user, at, host = before.rpartition("@")
    options = (_hidden(option) for option in query.split("&"))
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}{mark}{'&'.join(options)}"


def _hidden(option: str) -> str:
    name, separator, _ = option.partition("=")
    if option and not separator:
        return "***"  # what follows an ampersand that is part of a password
    return f"{name}=***" if unquote(name) in _PASSWORDS else option


def file_of(url: str) -> Path | None:
    """The file that a store's URL names, links and relative parts resolved; None for a store that is in no file.

    Everything that is named after a store (its lock, its views) is named after this path.

    Raises:
        StoreError: the URL names no store.
    """
    if is_in_memory(url) or is_postgres(url):
        return None
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path or Path(path).name == ":memory:":
        # The obvious slip is to name the file alone.
        meant = f"; did you mean sqlite:///{url}?" if url and ":" not in url else ""
        raise StoreError(f"{shown(url)!r} is not a store: allowed are {_ALLOWED}{meant}")
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{url!r} names no file: {str(error).splitlines()[0]}") from None


def check_ours(url: str, file: Path, writer: bool) -> bool:
    """Whether an existing file is marked as a fleet's; one that is anything else is left as it is.

    Raises:
        StoreError: it holds something else, or was emptied, or (for a writer) has several names.
        sqlite3.Error, OSError: it cannot be read, or is no database.
    """
    found = file.stat()
    if stat.S_ISDIR(found.st_mode):
        raise StoreError(f"{url} is a folder, and a fleet is a file: name one in it")
    if not found.st_size:
        _check_never_used(url, file)
    if writer and found.st_nlink > 1 and file.is_file():
        raise StoreError(
            f"{url} cannot be written: the file {file} has {found.st_nlink} names (hard links), and SQLite keeps its"
            " write-ahead log under one of them: remove the others"
        )
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if application == APPLICATION or (not application and tables >= _TABLES):
        return bool(application == APPLICATION)
    if application == VIEWS_APPLICATION:
        raise StoreError(f"{url} is the file of a fleet's views, not a fleet: name the file without .views")
    if tables or application or not writer:
        kind = f"it holds {_named(tables)}" if tables else "it holds no log"
        raise StoreError(f"{url} is no fleet: {kind}; the file is left as it is")
    return False


def _check_never_used(url: str, file: Path) -> None:
    """An empty file is a place for a new fleet, but not where something beside it says that there was one."""
    for suffix in ("-wal", ".views"):
        beside = file.with_name(file.name + suffix)
        if beside.exists() and beside.stat().st_size:
            raise StoreError(
                f"{url} is empty, but {beside.name} beside it says that there was a fleet:"
                " restore a copy, or delete both"
            )


def _named(tables: set[str]) -> str:
    few = sorted(tables)[:3]
    return f"the table{'s' if len(tables) > 1 else ''} {', '.join(few)}{' …' if len(tables) > 3 else ''}"


class OpenFiles:
    """The files of a store that is written, to notice that they were deleted, replaced or cut off.

    It must be made when the write-ahead log is there.
    """

    __slots__ = ("_files", "_size")

    def __init__(self, file: Path) -> None:
        files = [file, *(file.with_name(file.name + suffix) for suffix in _BESIDE)]
        self._files = [(str(one), _identity(one.stat())) for one in files if one.exists()]
        self._size = file.stat().st_size

    def lost(self) -> str | None:
        """What became of the files, in words; None where they are as they were left.

        Costs one look at the file system per file. A file that has shrunk was cut off: a log only grows. Any thread may
        look: what it finds is compared with what was known before its look, since the file may have grown behind it.
        """
        size, before = None, self._size
        for file, was in self._files:
            try:
                found = os.stat(file)  # noqa: PTH116 - after each commit, and `Path.stat` takes twice as long
            except OSError:
                return f"the file {file} is gone"
            if (found.st_dev, found.st_ino) != was:
                return f"the file {file} was replaced by another one"
            if size is None:
                size = found.st_size
                if size < before:
                    return f"the file {file} was cut off: it had {before} bytes, and has {size}"
                self._size = size
        return None


def identity_of(file: Path) -> Identity | None:
    """Which file lies at a path; None where there is none."""
    try:
        return _identity(file.stat())
    except OSError:
        return None


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
