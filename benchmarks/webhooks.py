"""What a webhook costs the writer: reports per second with one and without, in alternating rounds on one fleet, and the
processor time of the whole process for an event, which other work of the machine changes less.

``python -m benchmarks.webhooks``. The receiver is a process of its own that accepts all, or is away (503).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.load import AGENTS, RICH, Load
from benchmarks.result import alternating, quiet
from tallystick import Fleet

ROUNDS = 5
VARIABLE = "TALLYSTICK_BENCHMARK_SECRET"
RECEIVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(int(sys.argv[1]))
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def receiver(status: int) -> Iterator[str]:
    """The address of a receiver that answers so."""
    process = subprocess.Popen([sys.executable, "-c", RECEIVER, str(status)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Round:
    """A load on one fleet, with and without the webhook."""

    def __init__(self, fleet: Fleet, load: Load, url: str) -> None:
        self._fleet, self._load = fleet, load
        self._hook: dict[str, Any] = {"url": url, "secret": f"${{{VARIABLE}}}"}
        self.cpu: dict[bool, list[float]] = {True: [], False: []}
        """Microseconds per event, with the webhook and without it."""

    def without(self, rate: Callable[[Load], float]) -> float:
        self._fleet.put_in_force({"webhooks": {"audit": None}})
        return self._measured(rate, hooked=False)

    def with_it(self, rate: Callable[[Load], float]) -> float:
        """It begins with the round, so nothing of the rounds before is sent."""
        self._fleet.put_in_force({"webhooks": {"audit": self._hook}})
        return self._measured(rate, hooked=True)

    def _measured(self, rate: Callable[[Load], float], *, hooked: bool) -> float:
        began, before = time.process_time(), self._fleet.position
        found = rate(self._load)
        self.cpu[hooked].append((time.process_time() - began) * 1e6 / (self._fleet.position - before))
        return found


def main() -> None:
    """Print the ratios."""
    quiet()
    os.environ[VARIABLE] = "a secret of the benchmark"
    screen = Console()
    modes = {"one caller": lambda load: 1 / load.one_caller(), "pipelined": Load.pipelined, "batches": Load.batches}
    for words, status in (("accepts", 204), ("is away", 503)):
        with receiver(status) as url, tempfile.TemporaryDirectory() as folder:
            config = {**RICH, "notification_networks": ["127.0.0.1"]}
            with Fleet.open(f"sqlite:///{Path(folder) / 'fleet.db'}", config) as fleet:
                made = Round(fleet, Load(fleet, AGENTS), url)
                for mode, rate in modes.items():
                    mine, theirs, ratio = alternating(partial(made.with_it, rate), partial(made.without, rate), ROUNDS)
                    screen.print(f"receiver {words}, {mode}: {mine:,.0f}/s, {theirs:,.0f}/s without, ratio {ratio:.2f}")
                    hooked, plain = (statistics.median(made.cpu[one][-ROUNDS:]) for one in (True, False))
                    screen.print(f"  {hooked:.0f} µs of processor per event, {plain:.0f} without: {hooked / plain:.2f}")
                screen.print(fleet.webhook_figures)


if __name__ == "__main__":
    main()
