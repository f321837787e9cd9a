"""Archives a fleet up to a position, and kills itself before the step that it is given: ``URL UPTO STEP``."""

import datetime as dt
import os
import signal
import sys

from tallystick.events.log.store import open_store
from tallystick.events.log.store_archiving import archive
from tallystick.events.log.store_sqlite import SqliteStore


def main() -> None:
    url, upto, killed_before = sys.argv[1:]

    def step(name: str) -> None:
        if name == killed_before:
            os.kill(os.getpid(), signal.SIGKILL)

    store = open_store(url, writer=True)
    assert isinstance(store, SqliteStore)
    archive(store, int(upto), dt.datetime(2026, 4, 1, tzinfo=dt.UTC), lambda records, _: records, step)
    store.close()


if __name__ == "__main__":
    main()
