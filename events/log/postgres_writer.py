"""Who writes a fleet in PostgreSQL, as the database says."""

import datetime as dt
import re
import socket
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from psycopg import errors

from tallystick.events.log.postgres_database import reading_from
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store_contract import StoreError

_HOLDER_OF: Final = "SELECT holder, since, epoch, until > clock_timestamp() FROM tallystick_writers WHERE fleet = %s"
_HOLDER: Final = re.compile(r"process (\d+) on (.*)", re.DOTALL)


class LeaseHolder(NamedTuple):
    """Who took the writer's place of a fleet last, when, with which epoch, and whether the lease is still valid."""

    fleet: str
    holder: str
    since: dt.datetime
    epoch: int
    is_valid: bool

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, or of this container."""
        match = _HOLDER.fullmatch(self.holder)
        return match is not None and match[2] == socket.gethostname()

    @property
    def user(self) -> int | None:
        """The user whose process it is, where the system says so."""
        match = _HOLDER.fullmatch(self.holder)
        if match is None or not self.is_here:
            return None
        try:
            return Path(f"/proc/{match[1]}").stat().st_uid
        except OSError:
            return None


def holder_of(url: str) -> LeaseHolder | None:
    """Who writes a fleet, or was the last to write it; None where no process has.

    Raises:
        StoreError: the URL is not understood, or the database cannot be read.
    """
    place = place_of(url)
    try:
        with reading_from(place) as cursor:
            row = cursor.execute(_HOLDER_OF, (place.fleet,)).fetchone()
    except errors.UndefinedTable:
        return None
    except psycopg.Error as error:
        raise StoreError(f"{place.named} cannot be read: {str(error).splitlines()[0]}") from error
    return None if row is None else LeaseHolder(place.fleet, *row)
