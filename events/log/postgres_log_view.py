"""The log in PostgreSQL as a view with a row for each record, for programs that read it with SQL."""

from functools import reduce
from typing import Final, LiteralString

from psycopg import errors

from tallystick.events.log.postgres_tables import TABLES_LOCK, Connection
from tallystick.events.log.store_segments import PHRASES, SEGMENT

_TEXT: Final = reduce(
    lambda text, one: f"replace({text}, chr({one[0][0]}), '{one[1].decode()}')",
    PHRASES.items(),
    "convert_from(state, 'UTF8')",
)
LOG: Final[str] = (
    f"SELECT originator_id AS fleet, CASE topic WHEN '{SEGMENT}' THEN (one.record->>'position')::bigint"
    f" ELSE originator_version END AS position, CASE topic WHEN '{SEGMENT}' THEN one.record->>'type' ELSE topic END"
    f" AS type, one.record FROM tallystick_events, json_array_elements(CASE topic WHEN '{SEGMENT}' THEN {_TEXT}::json"
    " ELSE json_build_array(convert_from(state, 'UTF8')::json) END) AS one (record)"
)
"""What the view shows. Digests that are left out of a row are not put back (see `store_segments`)."""
_IS_THERE: Final[LiteralString] = "SELECT to_regclass('tallystick_log')"


def make_log_view(connection: Connection) -> None:
    """Make the view, where it is not there; a user who may write records, and make no views, does without it."""
    if connection.execute(_IS_THERE).fetchone() != (None,):
        return
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (TABLES_LOCK,))
            connection.execute(f"CREATE OR REPLACE VIEW tallystick_log AS {LOG}".encode())
    except errors.InsufficientPrivilege:
        pass
