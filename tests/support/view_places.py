"""The places where views are kept, as tests look into them: a file, or a database of its own."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tallystick.events.log.postgres_place import place_of
from tests.support.postgres import shared

_NAMES = {
    "kept": "tallystick_view_rows",
    "views": "tallystick_views",
    "sides": "tallystick_view_sides",
    "shown": "tallystick_shown",
}
DATABASE = "views"


class DatabaseViews(NamedTuple):
    """The views in a database that has one fleet, with the names of the file's tables."""

    url: str

    def unlink(self) -> None:
        """Remove all of them, and their tables."""
        self.sql("DROP TABLE tallystick_views, tallystick_view_rows, tallystick_view_sides CASCADE")

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        words = (_NAMES.get(word, word) for word in statement.split(" "))
        with psycopg.connect(place_of(self.url).database) as connection:
            done = connection.execute(" ".join(words).encode(), values or None)
            return done.fetchall() if done.description is not None else []


Views = Path | DatabaseViews


def views_for(url: str) -> Views:
    """The views of a store."""
    return Path(f"{url.removeprefix('sqlite:///')}.views") if url.startswith("sqlite") else DatabaseViews(url)


def sql(views: Views, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    if isinstance(views, DatabaseViews):
        return views.sql(statement, *values)
    with closing(sqlite3.connect(views)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def empty_database() -> str:
    """The URL of a fleet in a database in which nothing is."""
    server = shared()
    with psycopg.connect(place_of(server.url()).database, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            server.new_database(DATABASE)
    url = server.url(DATABASE)
    with psycopg.connect(place_of(url).database) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url
