"""The library `eventsourcing` as it comes: an aggregate for each budget, in SQLite; who was not first tries again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError

from benchmarks.peers.contract import CALLERS, UNITS, Call


class NoRoom(Exception):
    """There is less left than was asked for."""


class Account(Aggregate):
    """A budget; its id is made from its name."""

    def __init__(self, name: str, units: int) -> None:
        self.name = name
        self.left = units
        self.spent = 0
        self.holds: dict[str, int] = {}

    @staticmethod
    def create_id(name: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"budgets/{name}")

    @event("Reserved")
    def reserve(self, hold: str, units: int) -> None:
        if self.left < units:
            raise NoRoom
        self.left -= units
        self.holds[hold] = units

    @event("Settled")
    def settle(self, hold: str, units: int) -> None:
        self.left += self.holds.pop(hold) - units
        self.spent += units


class ByAggregates:
    """With its cache of aggregates, which spares it to read their events each time."""

    def __init__(self, folder: Path, _: str) -> None:
        self._app: Application[UUID] = Application(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": str(folder / "budgets.db"),
                "SQLITE_LOCK_TIMEOUT": "60",
                "SQLITE_POOL_TIMEOUT": "60",
                "AGGREGATE_CACHE_MAXSIZE": str(4 * CALLERS),
                "AGGREGATE_CACHE_FASTFORWARD": "n",
            }
        )

    def open(self, budgets: Mapping[str, int]) -> None:
        for name, units in budgets.items():
            try:
                self._app.repository.get(Account.create_id(name))
            except AggregateNotFoundError:
                self._app.save(Account(name, units))

    def cycle(self, budget: str, call: Call) -> bool:
        hold = str(uuid4())
        try:
            self._change(budget, lambda account: account.reserve(hold, UNITS))
        except NoRoom:
            return False
        call()
        self._change(budget, lambda account: account.settle(hold, UNITS))
        return True

    def _change(self, budget: str, change: Callable[[Any], None]) -> None:
        while True:
            account = self._app.repository.get(Account.create_id(budget))
            change(account)
            try:
                self._app.save(account)
            except IntegrityError:
                continue  # another caller was first
            return

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        account: Account = self._app.repository.get(Account.create_id(budget))
        return account.spent

    def close(self) -> None:
        self._app.close()
