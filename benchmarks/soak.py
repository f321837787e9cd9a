"""``python -m benchmarks.soak MINUTES``: a served fleet at half of what it can; do memory and latency stay flat?

Each minute is a line: reports per second, seconds from a report to its durable answer, resident memory of the server.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.http_client import HOST, Caller, call
from benchmarks.http_service import CLIENTS, one, served
from benchmarks.result import percentile

_FIND_SECONDS = 10.0
_SHARE = 0.5


class Minute(NamedTuple):
    """What was seen in one minute: reports per second, seconds of the median and of the slowest of a hundred, MB."""

    rate: float
    p50: float
    p99: float
    megabytes: float


class PacedCaller(Caller):
    """A connection that begins a request at fixed times, or at once where the last was answered too late."""

    every = 0.0
    _due = 0.0

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = max(self._due + self.every, loop.time())
        loop.call_at(self._due, super()._send)


def paced(port: int, every: float, seconds: float) -> list[float]:
    """The seconds that each request took, with one on each connection every so many seconds."""
    seen: list[float] = []

    async def run() -> None:
        loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds
        ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(CLIENTS)]
        for end in ends:
            caller = PacedCaller(one, until, seen, end)
            caller.every = every
            await loop.create_connection(lambda caller=caller: caller, HOST, port)  # type: ignore[misc]
            await asyncio.sleep(every / CLIENTS)
        await asyncio.gather(*ends)

    uvloop.run(run())
    return seen


def megabytes_of(process: int) -> float:
    """The resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def process_on(port: int) -> int:
    """The process that listens on a port of this machine."""
    wanted = f"{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(f":{wanted}") and row[3] == "0A")
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == f"socket:[{inode}]":
                return int(link.parts[2])
        except OSError:
            continue  # it has ended, or is another user's
    raise LookupError(f"no process listens on port {port}")


def soak(minutes: int) -> list[Minute]:
    """So many minutes, each as soon as it is seen on a line."""
    found = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as port:
        most = call(port, CLIENTS, one, _FIND_SECONDS)[0]
        process, every = process_on(port), CLIENTS / (most * _SHARE)
        print(f"at most {most:,.0f} reports/s; from here on {most * _SHARE:,.0f}", flush=True)
        for number in range(1, minutes + 1):
            began = time.perf_counter()
            seen = paced(port, every, 60.0)
            rate = len(seen) / (time.perf_counter() - began)
            minute = Minute(rate, statistics.median(seen), percentile(seen, 0.99), megabytes_of(process))
            found.append(minute)
            print(
                f"minute {number:3}: {minute.rate:8,.0f} reports/s, p50 {minute.p50 * 1e3:6.2f} ms,"
                f" p99 {minute.p99 * 1e3:7.2f} ms, {minute.megabytes:7.1f} MB",
                flush=True,
            )
    return found


def main() -> None:
    minutes = soak(int(sys.argv[1]))
    half = len(minutes) // 2
    first, last = minutes[:half] or minutes, minutes[half:]
    slower = statistics.median(one.p99 for one in last) / statistics.median(one.p99 for one in first)
    reports = sum(one.rate * 60 for one in last)
    grown = (last[-1].megabytes - last[0].megabytes) * 1e6
    print(f"the second half beside the first: p99 x {slower:.2f}; memory grew by {grown / reports:.0f} bytes a report")


if __name__ == "__main__":
    main()
