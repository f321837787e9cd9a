"""Written by hand: one connection, one lock, two tables; no log, no replies, no ids that are remembered."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.contract import UNITS, Call


class ByHand:
    """`BEGIN IMMEDIATE`, look, update, `COMMIT`, with ``synchronous=FULL``: each step is on the disk."""

    def __init__(self, folder: Path, _: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(folder / "budgets.db", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE IF NOT EXISTS budgets (name TEXT PRIMARY KEY, total INTEGER, used INTEGER, held INTEGER)",
            "CREATE TABLE IF NOT EXISTS holds (id INTEGER PRIMARY KEY, budget TEXT, units INTEGER)",
        ):
            self._connection.execute(statement)

    def open(self, budgets: Mapping[str, int]) -> None:
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO budgets VALUES (?, ?, 0, 0)", budgets.items())

    def cycle(self, budget: str, call: Call) -> bool:
        with self._transaction() as db:
            row = db.execute("SELECT total - used - held FROM budgets WHERE name=?", (budget,)).fetchone()
            if row[0] < UNITS:
                return False
            db.execute("UPDATE budgets SET held = held + ? WHERE name=?", (UNITS, budget))
            hold = db.execute("INSERT INTO holds (budget, units) VALUES (?, ?)", (budget, UNITS)).lastrowid
        call()
        with self._transaction() as db:
            (held,) = db.execute("DELETE FROM holds WHERE id=? RETURNING units", (hold,)).fetchone()
            db.execute("UPDATE budgets SET held = held - ?, used = used + ? WHERE name=?", (held, UNITS, budget))
        return True

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        with self._transaction() as db:
            return int(db.execute("SELECT used FROM budgets WHERE name=?", (budget,)).fetchone()[0])

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")
