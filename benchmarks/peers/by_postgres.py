"""Written by hand on PostgreSQL: a connection for each caller, and `SELECT … FOR UPDATE` on the budget's row."""

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.peers.contract import CALLERS, UNITS, Call


class ByHand:
    """The same two tables as in SQLite; a commit is on the disk when the server has answered it (its default)."""

    def __init__(self, __: Path, url: str) -> None:
        self._free: queue.LifoQueue[psycopg.Connection] = queue.LifoQueue()
        """One for each caller."""
        for _ in range(CALLERS):
            self._free.put(psycopg.connect(url, prepare_threshold=1))
        with self._transaction() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS budgets (name text PRIMARY KEY, total bigint, used bigint, held bigint)"
            )
            db.execute("CREATE TABLE IF NOT EXISTS holds (id bigserial PRIMARY KEY, budget text, units bigint)")

    def open(self, budgets: Mapping[str, int]) -> None:
        with self._transaction() as db:
            for name, units in budgets.items():
                db.execute("INSERT INTO budgets VALUES (%s, %s, 0, 0) ON CONFLICT DO NOTHING", (name, units))

    def cycle(self, budget: str, call: Call) -> bool:
        with self._transaction() as db:
            if self._left(db, budget) < UNITS:
                return False
            db.execute("UPDATE budgets SET held = held + %s WHERE name=%s", (UNITS, budget))
            asked = db.execute("INSERT INTO holds (budget, units) VALUES (%s, %s) RETURNING id", (budget, UNITS))
            (hold,) = asked.fetchone() or (0,)
        call()
        with self._transaction() as db:
            (held,) = db.execute("DELETE FROM holds WHERE id=%s RETURNING units", (hold,)).fetchone() or (0,)
            db.execute("UPDATE budgets SET held = held - %s, used = used + %s WHERE name=%s", (held, UNITS, budget))
        return True

    @staticmethod
    def _left(db: psycopg.Connection, budget: str) -> int:
        asked = db.execute("SELECT total - used - held FROM budgets WHERE name=%s FOR UPDATE", (budget,))
        return int((asked.fetchone() or (0,))[0])

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        with self._transaction() as db:
            return int((db.execute("SELECT used FROM budgets WHERE name=%s", (budget,)).fetchone() or (0,))[0])

    def close(self) -> None:
        while not self._free.empty():
            self._free.get().close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        connection = self._free.get()
        try:
            with connection.transaction():
                yield connection
        finally:
            self._free.put(connection)
