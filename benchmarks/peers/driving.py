"""The processes of the peers, driven from outside: started, asked, killed, and the processor time that they took."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers.environments import PROJECT
from benchmarks.peers.questions import Cost
from tests.support.postgres import PostgresServer

_TICKS = os.sysconf("SC_CLK_TCK")


class Side(NamedTuple):
    """Whom to ask: a class (``module:class``), and the interpreter that has what it needs."""

    where: str
    python: Path
    about: str = ""
    servers: Sequence[PostgresServer] = ()
    """They work for it: their time counts as its own, and they are killed when it is."""


class Answering:
    """A peer's process that waits for questions."""

    def __init__(self, side: Side, folder: Path) -> None:
        self._side = side
        self._process = _begin(side, "serve", folder)
        assert self._answer() == "ready"

    def raced(self) -> int:
        return int(self._ask("raced"))

    def cost(self, budgets: str, seconds: float) -> tuple[Cost, float]:
        """Cycles drawing on ``own`` budgets or ``one``, and the processor seconds that they took, all processes."""
        pids = (self._process.pid, *(server.pid for server in self._side.servers))
        before = processor_seconds(pids)
        done = Cost(*self._ask(f"cost {budgets} {seconds}"))
        return done, processor_seconds(pids) - before

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._side.where} has ended")
        return json.loads(line)


@contextmanager
def answering(side: Side) -> Iterator[Answering]:
    with tempfile.TemporaryDirectory() as folder:
        process = Answering(side, Path(folder))
        try:
            yield process
        finally:
            process.close()


class Loss(NamedTuple):
    """Of so many cycles that were acknowledged before SIGKILL, so many were not there afterwards."""

    acknowledged: int
    lost: int


def killed(side: Side, acknowledgements: int) -> Loss:
    """Kill a peer at work after some acknowledgements, and count what it has when it is opened again.

    Its servers are killed, too. What it cannot open again is lost. The system goes on: what a disk without power would
    have lost is not looked at.
    """
    with tempfile.TemporaryDirectory() as folder:
        # A folder is new; a server has what was kept there before.
        before = _kept(side, Path(folder)) if side.servers else 0
        with _begin(side, "acknowledge", Path(folder)) as process:
            assert process.stdout is not None
            for _ in range(acknowledgements):
                assert process.stdout.readline(), "it ended by itself"
            process.send_signal(signal.SIGKILL)
            acknowledged = acknowledgements + sum(line.endswith(b"\n") for line in process.stdout)
        for server in side.servers:
            server.kill()
            server.start()
        return Loss(acknowledged, max(0, acknowledged + before - _kept(side, Path(folder))))


def _kept(side: Side, folder: Path) -> int:
    process = _begin(side, "kept", folder)
    answer, _ = process.communicate()
    return 0 if process.returncode else int(json.loads(answer))


def _begin(side: Side, what: str, folder: Path) -> "subprocess.Popen[bytes]":
    command: Sequence[str] = [str(side.python), "-m", "benchmarks.peers.side", side.where, what, side.about]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )


def processor_seconds(pids: Sequence[int]) -> float:
    """Of processes and their descendants that are alive, and what their ended children took (Linux)."""
    parents: dict[int, int] = {}
    taken: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(stat.parent.name)
        parents[pid], taken[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = set(pids)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours, grown = ours | more, bool(more)
    return sum(taken.get(pid, 0) for pid in ours) / _TICKS
