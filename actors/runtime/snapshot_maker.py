"""Makes snapshots of a large state in a process of its own, from the log: the manager goes on meanwhile.

The process begins at the newest snapshot, follows the log up to the position that is wanted, and hands the state over.
So what it makes is what a replay makes; the manager keeps it and records its hash, later than at its position. Where
anything fails on the way, the older snapshot stays.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Final, Self

import structlog

from tallystick.actors.keeping import Coming, Made, made_of
from tallystick.actors.manager import Manager
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store, open_store
from tallystick.events.log.store_contract import StoreError
from tallystick.events.log.store_place import file_of, is_postgres
from tallystick.events.state.ledger import Ledger

LONG_MICROS = 5_000
"""A state that takes longer to write down keeps others waiting."""
STORE: Final = "TALLYSTICK_STORE"
"""In the environment of the process, the URL of the log."""

log = structlog.wrap_logger(logging.getLogger("tallystick.manager"))


class SnapshotMaker:
    """Has snapshots made of the log at ``url``, one at a time, and hands each to ``done`` on a thread of its own."""

    def __init__(self, url: str, done: Callable[[Made], None]) -> None:
        self._url, self._done = url, done
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._is_in_memory = not is_postgres(url) and file_of(url) is None  # no other process sees it
        self._failed = False
        """The last one was not made."""
        self._is_stopped = False

    @classmethod
    def of(cls, manager: Manager, store: Store, tell: Callable[[Coming], None]) -> Self:
        """One that a manager asks when a snapshot of the log in a store is due; it gets it by ``tell``."""
        maker = cls(store.url, lambda made: tell(Coming(made, store)))
        manager.is_made_elsewhere = maker.begin
        return maker

    def begin(self, ledger: Ledger) -> bool:
        """Begin a snapshot of a state that is written; false where it is better made at once.

        It is where the state is small, or where a process could not make the last one: the next is tried again. While
        one is made, none is begun.
        """
        if self._failed:
            self._failed = False
            return False
        if self._is_in_memory or _micros(ledger) < LONG_MICROS:
            return False
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._make, args=(ledger.position,), name="snapshot", daemon=True)
            self._thread.start()
        return True

    def stop(self) -> None:
        """Give up what is being made."""
        self._is_stopped = True
        process, thread = self._process, self._thread
        if process is not None:
            process.kill()
        if thread is not None:
            thread.join()

    def _make(self, position: int) -> None:
        try:
            process = self._process = subprocess.Popen(  # noqa: S603 - our own program
                # -P: no file of the folder in which the fleet was started is taken for a module.
                [sys.executable, "-P", "-m", __name__, str(position)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Not an argument, which every user of the machine can read: a URL may have a password.
                env={**os.environ, STORE: self._url},
            )
            if self._is_stopped:
                process.kill()  # it was stopped before there was a process
            said, why = process.communicate()
        except OSError as error:
            self._fail(position, str(error))
            return
        # It keeps what it has said, which is as large as the snapshot.
        self._process = None
        if process.returncode < 0:
            return  # it was stopped
        sha256, _, data = said.partition(b"\n")
        if process.returncode:
            last = why.decode(errors="replace").strip().rpartition("\n")[2]
            self._fail(position, f"the process that made it ended with {process.returncode}: {last}")
        else:
            self._done(Made(position, sha256.decode(), data))

    def _fail(self, position: int, reason: str) -> None:
        self._failed = True
        log.warning("snapshot_not_kept", position=position, reason=reason)


def _micros(ledger: Ledger) -> int:
    """About how many microseconds of a processor it takes to write down a state: five for each account, hold and task,
    one for what is remembered of each that is over, and a third for each id.
    """
    standing = len(ledger.accounts) + len(ledger.holds) + len(ledger.tasks.known)
    return 5 * standing + len(ledger.ended_holds) + len(ledger.lives) + len(ledger.ids) // 3


def make(url: str, position: int, out: IO[bytes]) -> None:
    """Write a snapshot of the state at a position: a line with its SHA-256, and its bytes as they are stored.

    Raises:
        BrokenChain: the log was tampered with.
        StoreError: the log could not be read.
    """
    store = open_store(url)
    try:
        ledger = open_ledger(store, position).ledger
    finally:
        store.close()
    if ledger.position != position:
        raise StoreError(f"the log ends at {ledger.position}, before {position}")
    made = made_of(ledger)
    out.write(made.sha256.encode() + b"\n" + made.data)
    out.flush()


if __name__ == "__main__":
    make(os.environ[STORE], int(sys.argv[1]), sys.stdout.buffer)
