"""``tallystick import --dry-run``: the fleet is only read."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tallystick.cli.common import open_to_read
from tallystick.config.found import config_for, prices_for
from tallystick.events.log.store import NoFleet
from tallystick.importing.preview import Preview


@contextmanager
def preview_of(options: dict[str, Any], now: dt.datetime) -> Iterator[Preview]:
    """What would become of reports, as long as the store is open; of one that is not there, a new fleet.

    Raises:
        StoreError: the store or the server cannot be read.
        ConfigError: a file of settings cannot be used.
        UsageError: the URL or the key is none.
    """
    try:
        store = open_to_read(options["url"] or options["store_url"])
    except NoFleet:
        store = None
    try:
        is_new = store is None or store.last() is None
        config, prices = config_for(options["config_file"], is_new), prices_for(options["prices_file"], is_new)
        yield Preview(None if is_new else store, config, prices, now)
    finally:
        if store is not None:
            store.close()
