"""Several programs open the views of a database that has none at the same moment: one makes the tables for all."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tallystick.events.log.postgres_place import place_of
from tallystick.projections.store.view_postgres_tables import _LOCK
from tests.support.postgres import shared
from tests.support.programs import SECONDS, until
from tests.support.view_logs import opened_views

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_one_makes_the_tables_and_the_others_find_them() -> None:
    server, name = shared(), f"views-{secrets.token_hex(4)}"
    server.new_database(name)
    url = server.url(name)
    database = place_of(url).database
    with ThreadPoolExecutor(3) as threads, psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        opening = [threads.submit(opened_views, url) for _ in range(3)]
        until(lambda: connection.execute(WAITING).fetchone() == (3,))
        connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
        for one in opening:
            one.result(SECONDS).close()
