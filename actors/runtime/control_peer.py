"""Who is at the other end of a Unix socket, by what the system says."""

import os
import socket
import struct
import sys
from typing import Any, Final

import msgspec

_UCRED: Final = struct.Struct("3i")
"""Linux, ``SO_PEERCRED``: process, user, group."""
_XUCRED: Final = struct.Struct("IIh16I")
"""macOS, ``LOCAL_PEERCRED``: version, user, number of groups, groups."""
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2


class Peer(msgspec.Struct, frozen=True):
    """A process that asks; None for what the system does not say."""

    user: str | None
    uid: int | None
    process: int | None

    def encoded(self) -> bytes:
        """As the log keeps it."""
        return msgspec.json.encode(self)


UNKNOWN: Final = Peer(None, None, None)


def peer_of(connection: Any) -> Peer:
    """Who connected to a Unix socket: its user and process, at the moment at which it did.

    A process of another container is not known by its number.
    """
    try:
        if hasattr(socket, "SO_PEERCRED"):
            process, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            return Peer(_name_of(uid), uid, process or None)
        if sys.platform == "darwin":
            found = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
            uid = struct.unpack_from("II", found)[1]
            (process,) = struct.unpack("i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
            return Peer(_name_of(uid), uid, process or None)
    except (OSError, struct.error):
        pass
    return UNKNOWN


def own_peer() -> Peer:
    """Ourselves, as a fleet of another process would see us."""
    uid = os.geteuid() if hasattr(os, "geteuid") else None
    return Peer(None if uid is None else _name_of(uid), uid, os.getpid())


def _name_of(uid: int) -> str | None:
    """The user's name; None where the machine has no such user, as in a container."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return None
