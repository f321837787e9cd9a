"""What ``tallystick import`` reads of a fleet: what it has already, and for ``--dry-run`` how it would decide."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import click

from tallystick.cli.common import open_to_read
from tallystick.config.found import config_for, prices_for
from tallystick.events.log.store import NoFleet, Store, StoreError
from tallystick.importing.notes import Notes
from tallystick.importing.preview import Preview
from tallystick.importing.recorded import Recorded


@contextmanager
def preview_of(options: dict[str, Any], now: dt.datetime) -> Iterator[Preview]:
    """What would become of reports, as long as the store is open; of one that is not there, a new fleet.

    Raises:
        StoreError: the store or the server cannot be read.
        ConfigError: a file of settings cannot be used.
        UsageError: the URL or the key is none.
    """
    with _read(options) as store:
        is_new = store is None
        config, prices = config_for(options["config_file"], is_new), prices_for(options["prices_file"], is_new)
        with closing(Preview(store, config, prices, now)) as preview:
            yield preview


@contextmanager
def recorded_in(options: dict[str, Any], notes: Notes) -> Iterator[Callable[[str], int | None]]:
    """Where the log has a source, as long as the store is open; it is read when that is asked first."""
    with ExitStack() as stack:
        found: list[Recorded | None] = []

        def find(source: str) -> int | None:
            if not found:
                found.append(_recorded(stack, options, notes))
            return None if found[0] is None else found[0].find(source)

        yield find


def _recorded(stack: ExitStack, options: dict[str, Any], notes: Notes) -> Recorded | None:
    try:
        store = stack.enter_context(_read(options))
        return None if store is None else stack.enter_context(closing(Recorded(store)))
    except StoreError as error:
        if options["url"] is None:
            raise
        notes.remark(f"calls that were reported under ids of messages may count twice, as the log is not read: {error}")
        return None


@contextmanager
def _read(options: dict[str, Any]) -> Iterator[Store | None]:
    """A store to be read, or the log of a server; None where no fleet has begun."""
    try:
        store = _opened(options)
    except NoFleet:
        yield None
        return
    with closing(store):
        yield None if store.last() is None else store


def _opened(options: dict[str, Any]) -> Store:
    if options["url"] is None:
        return open_to_read(options["store_url"])
    from tallystick.client.served_log import ServedLog  # noqa: PLC0415 - httpx is loaded only where it is used

    try:
        return ServedLog(options["url"], options["key"])
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
