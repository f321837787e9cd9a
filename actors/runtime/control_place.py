"""Where the control socket of a fleet is: in a directory of its user's own, under a name made from its store."""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tallystick.events.log.store_place import file_of, is_postgres

_NAME_DIGITS: Final = 24
_PATH_MAX: Final = 100
"""Bytes that the path of a Unix socket may have on every system that has them."""
_OTHERS: Final = 0o077
"""What group and others may do in a directory, which must be nothing."""


class NoPlace(Exception):
    """There is no directory for the socket that is safe; the text says why, in one line."""


class Socket(NamedTuple):
    """The name of a fleet's socket, and the user who runs the fleet, where that is known."""

    name: str
    user: int | None


def socket_of(url: str) -> Socket | None:
    """What the socket of the fleet that a URL names is called; None where it has none.

    The name is the same for every URL by which the store is reached. That of a file is made from what identifies the
    file, so that a container that mounts its folder elsewhere finds it; that of a fleet in PostgreSQL from its
    writer's lease, while that is valid, so that a copy of the database does not lead to the fleet of the original.

    Raises:
        StoreError: the URL names no store, or its database cannot be read.
    """
    if is_postgres(url):
        from tallystick.events.log.postgres_writer import holder_of

        lease = holder_of(url)
        if lease is None or not lease.is_valid:
            return None
        identity = f"{lease.holder}:{lease.since.timestamp()}:{lease.epoch}:{lease.fleet}"
        return Socket(_name(identity), lease.user)
    file = file_of(url)
    try:
        found = None if file is None else file.stat()
    except OSError:
        return None
    return None if found is None else Socket(_name(f"{found.st_dev}:{found.st_ino}"), found.st_uid)


def _name(identity: str) -> str:
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:_NAME_DIGITS]}.sock"


def place_for(name: str) -> Path:
    """The path of the socket of a fleet that we run; its directory is made where it is missing.

    Raises:
        NoPlace: no directory is safe, or a path would be too long.
    """
    reasons = []
    for directory in _directories(os.geteuid()):
        try:
            with contextlib.suppress(FileExistsError):
                directory.mkdir(0o700)
            check_safe(directory, os.geteuid())
        except NoPlace as error:
            reasons.append(str(error))
            continue
        except OSError as error:
            reasons.append(f"{directory}: {error.strerror}")
            continue
        if len(os.fsencode(directory / name)) <= _PATH_MAX:
            return directory / name
        reasons.append(f"{directory}: its path is too long for a socket")
    raise NoPlace("; ".join(reasons))


def places_of(url: str) -> Iterator[Path]:
    """Where the socket of the fleet that a URL names may be found, by whom it may concern.

    Its user may be ours; for the superuser also the one who owns the file, or whose process the writer is.

    Raises:
        StoreError: the URL names no store, or its database cannot be read.
    """
    if not hasattr(os, "geteuid") or (found := socket_of(url)) is None:
        return
    name, ours = found.name, os.geteuid()
    for uid in dict.fromkeys((ours, found.user) if ours == 0 and found.user is not None else (ours,)):
        for directory in _directories(uid):
            with contextlib.suppress(NoPlace, OSError):
                check_safe(directory, uid)
                if (directory / name).exists():
                    yield directory / name


def check_safe(directory: Path, uid: int) -> None:
    """A directory in which only one user can put anything, not reached by a link in its place.

    Raises:
        NoPlace: it is another user's, or others may enter it, or it is a link.
        OSError: it cannot be opened.
    """
    if directory.is_symlink():
        raise NoPlace(f"{directory} is a link: allowed is a directory")
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
    finally:
        os.close(handle)
    if found.st_uid != uid:
        raise NoPlace(f"{directory} belongs to user {found.st_uid}: allowed is {uid}")
    if found.st_mode & _OTHERS:
        raise NoPlace(f"{directory} has the mode {stat.S_IMODE(found.st_mode):04o}: allowed is 0700")


def _directories(uid: int) -> Iterator[Path]:
    """Where a user's sockets may be, the best place first."""
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    of_the_session = [Path(named)] if named.startswith("/") else []
    found = [*of_the_session, Path(f"/run/user/{uid}")]
    temporary = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - the directory below it is checked
    places = [place / "tallystick" for place in found if place.is_dir()]
    yield from dict.fromkeys([*places, *(place / f"tallystick-{uid}" for place in temporary)])
