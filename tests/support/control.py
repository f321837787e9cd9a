"""A client of the control socket that says any bytes, and programs whose fleet other processes control."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.store_processes import SECONDS

AGENTS_AT_WORK = """
import sys, threading
from tallystick import Fleet
done, paused, resumed = threading.Event(), threading.Event(), threading.Event()

def agent(fleet, name):
    fleet.ask({"type": "AllocateBudget", "agent": name, "budget": {"tokens": 100_000}})
    while not done.wait(0.002):
        answer = fleet.ask({"type": "ReportUsage", "agent": name, "usage": {"tokens": 1}})["ok"]
        if answer["action"] == "stop":
            paused.set()
        elif paused.is_set():
            resumed.set()

with Fleet.open(sys.argv[1], {"total_budget": {"tokens": 1_000_000}}, notify=False) as fleet:
    agents = [threading.Thread(target=agent, args=(fleet, f"a-{n}")) for n in range(4)]
    for one in agents:
        one.start()
    print(fleet.control_socket, flush=True)
    for event in (paused, resumed):
        assert event.wait(30)
        print("seen", flush=True)
    sys.stdin.readline()
    done.set()
    for one in agents:
        one.join()
"""
"""It prints where its socket is, and a line when its agents were stopped, and when they could go on."""


class Client:
    """A connection of which a test sees every byte."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(SECONDS)
        self.socket.connect(str(path))
        self._read = self.socket.makefile("rb")

    def say(self, line: bytes) -> None:
        self.socket.sendall(line)

    def request(self, message: Any, **fields: Any) -> None:
        self.say(json.dumps({"message": message, **fields}).encode() + b"\n")

    def next(self) -> dict[str, Any] | None:
        """The next line; None where the fleet has closed the connection."""
        line = self._read.readline()
        return json.loads(line) if line else None

    def ask(self, message: Any, **fields: Any) -> Any:
        self.request(message, **fields)
        answer = self.next()
        assert answer is not None
        return answer["reply"]

    def close(self) -> None:
        self._read.close()
        self.socket.close()


@contextmanager
def client(path: Path | None) -> Iterator[Client]:
    """A connection, closed at the end of the block."""
    assert path is not None
    one = Client(path)
    try:
        yield one
    finally:
        one.close()
