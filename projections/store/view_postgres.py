"""Views in the PostgreSQL database of their log."""

from contextlib import closing
from typing import Self

import psycopg

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import connect
from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.view_postgres_tables import PostgresViewTables
from tallystick.projections.store.view_sides import LIVE, REBUILT, Side
from tallystick.projections.store.view_store import NotKept
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes


class PostgresViews(KeptViews):
    """One side of the views of a fleet in a database.

    Raises:
        NotKept: the database cannot be reached or written, or a newer version of tallystick keeps views there.
        StoreError: the URL is not understood.
    """

    def __init__(self, url: str, kinds: ViewTypes = ALL_VIEWS, side: Side = LIVE) -> None:
        self._url, self._place = url, place_of(url)
        super().__init__(self._place.named, kinds, side)

    def beside(self) -> Self:
        return type(self)(self._url, self.kinds, REBUILT)

    def _opened(self) -> PostgresViewTables:
        return PostgresViewTables(self._place)


def are_in_database(url: str) -> bool:
    """Whether views of a fleet have been kept in its database; nothing is made.

    Raises:
        NotKept: the database cannot be reached.
    """
    place = place_of(url)
    try:
        with closing(connect(place)) as connection:
            if connection.execute("SELECT to_regclass('tallystick_view_sides')").fetchone() == (None,):
                return False
            query = "SELECT 1 FROM tallystick_view_sides WHERE fleet = %s"
            return connection.execute(query, (place.fleet,)).fetchone() is not None
    except psycopg.Error as error:
        raise NotKept(f"the views in {place.named} could not be read: {str(error).splitlines()[0]}") from error
