"""How many bytes a report takes on the disk: as it is written, and in an archive."""

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import AGENTS, RICH, Load
from benchmarks.result import Result
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.store import open_store
from tallystick.events.log.store_archiving import archive
from tallystick.events.log.store_sqlite import SqliteStore

REPORTS = 50_000
ARCHIVED_AT = dt.datetime(2026, 1, 26, tzinfo=dt.UTC)


class Sizes(NamedTuple):
    """Bytes per report: in the store's file, and in an archive."""

    stored: float
    archived: float


def results() -> Iterator[Result]:
    for name, together in (("", 1), (".batches_of_100", 100)):
        sizes = sizes_of(REPORTS, together)
        figures = (("disk.report", sizes.stored, 400), ("disk.archived", sizes.archived, 120))
        for figure, size, goal in figures:
            yield Result(f"{figure}{name}", size, "bytes/report", f"{goal} bytes", size / goal, ("<=", 1.0))


def sizes_of(reports: int, together: int) -> Sizes:
    """Written by a live fleet: messages of so many reports, a thousand of these under way at a time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        url = f"sqlite:///{path}"
        with Fleet.open(url, from_mapping(RICH)) as fleet:
            load = Load(fleet, AGENTS)
        empty = path.stat().st_size
        with Fleet.open(url) as fleet:
            load.fleet = fleet
            for start in range(0, reports, 1_000 * together):
                sent = range(start, min(reports, start + 1_000 * together), together)
                for pending in [fleet.send([load.report() for _ in range(together)]) for _ in sent]:
                    pending.result()
        stored = (path.stat().st_size - empty) / reports
        with closing(open_store(url, writer=True)) as store:
            assert isinstance(store, SqliteStore)
            last = store.last()
            assert last is not None
            done = archive(store, last.position, ARCHIVED_AT, lambda records, _: records)
            assert done is not None
            return Sizes(stored, done.archive.size / done.archive.upto)
