"""Whether a connection is a session of its own: a pooler may give each transaction another one."""

from contextlib import closing
from typing import Final

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Connection, connect
from tallystick.events.log.store_contract import StoreError

_LOOKS: Final = 3
"""A pooler that hands its sessions out in turn may give the same one twice."""


def check_session(connection: Connection, place: PostgresPlace) -> None:
    """Refuse a pooler that keeps no session: settings, prepared statements and notifications are lost there.

    A server says when a connection is made which of its processes serves it. Where another one does, there is a pooler
    between, and it is asked whether two connections are two sessions.

    Raises:
        StoreError: they are not.
        psycopg.Error: the database cannot be reached, or refuses.
    """
    own = {_process(connection)}
    if own == {connection.info.backend_pid}:
        return
    others: set[int] = set()
    with closing(connect(place)) as other:
        for _ in range(_LOOKS):
            others.add(_process(other))
            own.add(_process(connection))
    if len(own) > 1 or len(others) > 1 or own & others:
        raise StoreError(
            f"{place.named}: found a pooler that gives each transaction another session, allowed is a direct"
            " connection, or a pooler that keeps a session for each connection (pgbouncer: pool_mode = session)"
        )


def _process(connection: Connection) -> int:
    """The server's process that serves this statement."""
    found = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    assert found is not None
    return int(found[0])
