"""Where a fleet's log lies in PostgreSQL: a database, and the fleet's name in it."""

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from tallystick.events.log.store_contract import StoreError
from tallystick.events.log.store_place import shown

FLEET: Final = "main"
"""The fleet where the URL names none."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_OPTIONS: Final = {"fleet", *(option.keyword.decode() for option in Conninfo.get_defaults())}
_FORM: Final = (
    "allowed is postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?fleet=NAME], in which what is no letter, digit,"
    " dot, hyphen or underscore of a user or password is written as % and two digits"
)


class PostgresPlace(NamedTuple):
    """A database and a fleet in it."""

    database: str
    """The URL of the database, as libpq reads it."""
    fleet: str
    named: str
    """The URL without its passwords, to be shown."""


def place_of(url: str) -> PostgresPlace:
    """The place that ``postgresql://[user[:password]@][host][:port]/database[?fleet=NAME]`` names.

    What else stands behind the question mark is libpq's (``sslmode``, ``sslrootcert`` …).

    Raises:
        StoreError: the URL is not understood.
    """
    named = shown(url)
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        for name, _ in options:
            if name not in _OPTIONS:
                raise StoreError(f"{named}: found the option {name!r}, which neither tallystick nor libpq has")
        fleets = [value for name, value in options if name == "fleet"] or [FLEET]
        libpqs = urlencode([(name, value) for name, value in options if name != "fleet"])
        database = f"{scheme}://{place}{libpqs and f'?{libpqs}'}"
        conninfo_to_dict(database)
        is_cut = place.count("@") > 1 or "@" in place.partition("/")[2]
    except (ValueError, psycopg.ProgrammingError):
        # What libpq says may show a part of a password.
        raise StoreError(f"{named} is not understood: {_FORM}") from None
    if is_cut:
        raise StoreError(f"{named} is not understood: {_FORM}")
    if len(fleets) > 1 or not _NAME.fullmatch(fleets[0]):
        raise StoreError(
            f"{named}: fleet: found {', '.join(map(repr, fleets))[:100]}, allowed is one name of up to 64 letters,"
            " digits, dots, hyphens and underscores that begins with a letter or digit"
        )
    return PostgresPlace(database, fleets[0], named)
