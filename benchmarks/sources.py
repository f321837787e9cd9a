"""Reports of sources beside reports without one: what the index of sources costs when it is large."""

import datetime as dt
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import RICH
from benchmarks.result import Result, alternating
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import Envelope
from tallystick.config.amounts import Usage
from tallystick.events import messages as c
from tallystick.events.log.codec import encode_command
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store

SOURCES = 1_000_000
BATCH, BATCHES, ROUNDS = 100, 40, 5
_USAGE = Usage(tokens=450)
_START = dt.datetime(2026, 1, 26, tzinfo=dt.UTC)


class Writing:
    """A fleet in a file whose index has so many random ids. Each method writes batches of reports; reports a second."""

    def __init__(self, folder: Path, sources: int) -> None:
        self._dice = random.Random(1)
        self._store = open_store(f"sqlite:///{folder}/fleet.db", writer=True)
        opened = open_ledger(self._store)
        self._manager = Manager(opened.ledger, self._store, opened.digest)
        self._next = 0
        self._take([c.LoadConfig(id="config", config=RICH)])
        # What is looked up is in the index; what it points to is read only where a source is repeated.
        for _ in range(sources // 10_000):
            self._store.sources.add([(self._id(), 1) for _ in range(10_000)], opened.ledger.position)

    def plain(self) -> float:
        """Reports without a source."""
        return self._rate([[None] * BATCH for _ in range(BATCHES)])

    def new(self) -> float:
        """Reports of sources that were not reported before."""
        return self._rate([[self._id() for _ in range(BATCH)] for _ in range(BATCHES)])

    def repeated(self) -> float:
        """Reports of sources that were reported just before."""
        ids = [self._id() for _ in range(BATCH * BATCHES)]
        batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
        self._rate(batches)
        return self._rate(batches)

    def close(self) -> None:
        self._store.close()

    def _id(self) -> str:
        return f"msg_{self._dice.getrandbits(96):024x}"

    def _rate(self, batches: list[list[str]] | list[list[None]]) -> float:
        asked: list[list[c.Command]] = []
        for batch in batches:
            first, self._next = self._next, self._next + len(batch)
            asked.append(
                [
                    c.ReportUsage(id=f"r-{n}", agent=f"a-{n % 500}", usage=_USAGE, source_id=source)
                    for n, source in enumerate(batch, first)
                ]
            )
        began = time.perf_counter()
        for commands in asked:
            self._take(commands)
        return BATCH * len(batches) / (time.perf_counter() - began)

    def _take(self, commands: list[c.Command]) -> None:
        self._manager.take(Envelope(commands, [encode_command(command) for command in commands], "bench", None), _START)
        while self._manager.has_work:
            self._manager.commit(_START)


def results() -> Iterator[Result]:
    """Reports of new and of repeated sources beside reports without one, in the same file and run."""
    with tempfile.TemporaryDirectory() as folder:
        writing = Writing(Path(folder), SOURCES)
        for name, ours in (("report.new_source", writing.new), ("report.repeated_source", writing.repeated)):
            value, against, ratio = alternating(ours, writing.plain, ROUNDS)
            yield Result(name, value, "reports/s", f"{against:,.0f} without a source", ratio)
        writing.close()


if __name__ == "__main__":
    for result in results():
        print(f"{result.name}: {result.value:,.0f} {result.unit}, {result.against}: {result.ratio:.2f}")
