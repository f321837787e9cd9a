"""Where a fleet's log lies in PostgreSQL: a database, and the fleet's name in it."""

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tallystick.events.log.store_contract import StoreError

SCHEMES: Final = ("postgresql", "postgres")
FLEET: Final = "main"
"""The fleet where the URL names none."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PASSWORDS: Final = ("password", "sslpassword")


class PostgresPlace(NamedTuple):
    """A database and a fleet in it."""

    database: str
    """The URL of the database, as libpq reads it."""
    fleet: str
    named: str
    """The URL without its passwords, to be shown."""


def is_postgres(url: str) -> bool:
    """Whether a store's URL names a database of PostgreSQL."""
    return url.partition("://")[0] in SCHEMES


def place_of(url: str) -> PostgresPlace:
    """The place that ``postgresql://[user[:password]@][host][:port]/database[?fleet=NAME]`` names.

    What else stands behind the question mark is libpq's (``sslmode``, ``sslrootcert`` …).

    Raises:
        StoreError: the URL is not understood.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        fleets = [value for name, value in options if name == "fleet"] or [FLEET]
        rest = [(name, value) for name, value in options if name != "fleet"]
        database = urlunsplit(parts._replace(query=urlencode(rest)))
        conninfo_to_dict(database)
    except (ValueError, psycopg.ProgrammingError) as error:
        raise StoreError(f"the store is not understood: {str(error).splitlines()[0]}") from None
    named = _without_passwords(url)
    if len(fleets) > 1 or not _NAME.fullmatch(fleets[0]):
        raise StoreError(
            f"{named}: fleet: found {', '.join(map(repr, fleets))[:100]}, allowed is one name of up to 64 letters,"
            " digits, dots, hyphens and underscores that begins with a letter or digit"
        )
    return PostgresPlace(database, fleets[0], named)


def _without_passwords(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    options = [(name, "***" if name in _PASSWORDS else value) for name, value in parse_qsl(parts.query)]
    shown = parts._replace(netloc=user.partition(":")[0] + at + host, query=urlencode(options, safe="*/"))
    return urlunsplit(shown)
