"""A second set of books, kept from the recorded events alone: every amount is a transfer between two places.

It shares no arithmetic with the ledger, finds payers by walking up the tree each time, and adds up whole subtrees.
"""

from collections import defaultdict
from fractions import Fraction
from typing import Any

from tallystick.config.amounts import Amounts, Triple
from tallystick.events import catalog as e

DIMENSIONS = (0, 1, 2)
RESPONSES = ("none", "throttle", "degrade", "stop", "stop_all")
Place = tuple[str, str]
"""("free" | "held" | "spent", account): the fleet's own free balance is ("free", "fleet")."""


class Books:
    """Balances by place and dimension; limits and parents of the open accounts; what the fleet has."""

    def __init__(self) -> None:
        self.balance: dict[tuple[Place, int], int] = defaultdict(int)
        self.parent: dict[str, str] = {}
        self.allocated: dict[str, list[int | None]] = {"fleet": [None, None, None]}
        self.given_back: dict[str, list[int]] = {}
        self.holds: dict[str, list[tuple[str, int, int]]] = {}
        self.used = [0, 0, 0]
        self.opening = [0, 0, 0]
        self.overdraft = [0, 0, 0]
        self.config: dict[str, Any] = {}
        self.response = 0

    # --- looking ------------------------------------------------------------------------------------------------------

    def at(self, kind: str, account: str, d: int) -> int:
        return self.balance[(kind, account), d]

    def payer(self, account: str, d: int) -> str:
        while account != "fleet" and self.allocated[account][d] is None:
            account = self.parent[account]
        return account

    def children(self, account: str, d: int) -> list[str]:
        """The open accounts that draw on this one in a dimension."""
        return [
            name
            for name, parent in self.parent.items()
            if self.allocated[name][d] is not None and self.payer(parent, d) == account
        ]

    def granted(self, account: str, d: int) -> int:
        """All that was ever given to an account and not given back: what lies in it and below it."""
        below = sum(self.granted(child, d) for child in self.children(account, d))
        return below + sum(self.at(kind, account, d) for kind in ("free", "held", "spent"))

    def ratio(self, account: str, d: int) -> Fraction:
        allocated = self.allocated[account][d]
        assert allocated is not None
        below = sum(self.granted(child, d) for child in self.children(account, d))
        base, consumed = allocated + self.given_back[account][d] - below, self.at("spent", account, d)
        if base > 0:
            return Fraction(consumed, base)
        return Fraction(1 if consumed else 0)

    def level(self, account: str) -> int:
        rules = self.config["enforcement"]
        lines = [Fraction(str(rules[name])) for name in ("warn_at", "throttle_at", "degrade_at", "stop_at")]
        ratios = [self.ratio(account, d) for d in DIMENSIONS if self.allocated[account][d] is not None]
        return sum(max(ratios, default=Fraction(0)) >= line for line in lines)

    def period_total(self, d: int) -> int:
        total = self.allocated["fleet"][d]
        assert total is not None
        return total - self.opening[d]

    def spendable(self, d: int) -> int:
        total = self.period_total(d)
        return total - int(total * Fraction(str(self.config["emergency_reserve_percent"])) / 100)

    def minimum_share(self, d: int) -> int:
        if self.allocated["fleet"][d] is None:
            return 0
        part = Fraction(str(self.config["minimum_share_percent"])) / 100
        return int(part * self.spendable(d) / len(self.parent))

    def respond(self) -> int:
        """What the fleet's response must be now, given what it was: from scratch, with hysteresis."""
        lines = [Fraction(str(self.config["enforcement"]["fleet"][f"{name}_at"])) for name in RESPONSES[1:4]]
        slack = Fraction(str(self.config["enforcement"]["fleet"]["hysteresis"]))
        begun, kept = 0, 0
        for d in DIMENSIONS:
            if self.allocated["fleet"][d] is None:
                continue
            committed = self.used[d] - self.opening[d]
            committed += sum(units for hold in self.holds.values() for _, of, units in hold if of == d)
            for rank, line in enumerate((*lines, Fraction(1)), start=1):
                whole = self.period_total(d) if rank == 4 else self.spendable(d)
                part = Fraction(committed, whole) if whole > 0 else Fraction(int(committed > 0))
                if part >= line:
                    begun = max(begun, rank)
                if part > 0 and part >= line - slack:
                    kept = max(kept, rank)
        self.response = max(begun, min(kept, self.response))
        return self.response

    # --- keeping ------------------------------------------------------------------------------------------------------

    def keep(self, event: e.Event) -> None:
        """Book one event. Nothing is granted or held that is not there."""
        match event:
            case e.ConfigLoaded():
                self.config = event.config
            case e.TotalBudgetSet() | e.PeriodRenewed():
                self._total(event)
            case e.BudgetAllocated():
                self.parent[event.agent] = event.parent or "fleet"
                self.allocated[event.agent] = list(event.amount.triple)
                self.given_back[event.agent] = [0, 0, 0]
                self._grant(event.agent, event.amount, opened=True)
            case e.BudgetDrawn():
                self._grant(event.agent, event.amount)
            case e.UnusedRestored():
                self._grant(event.agent, event.amount)
                self.given_back[event.agent] = [0, 0, 0]
            case e.BudgetReturned():
                self._take_back(event.agent, event.amount)
            case e.UnusedReturned():
                self._take_back(event.agent, event.amount)
                for d in DIMENSIONS:
                    self.given_back[event.agent][d] += event.amount.triple[d] or 0
            case e.BudgetMoved(strategy="idle"):
                self._take_back(event.source, event.amount)
            case e.BudgetMoved():
                self._grant(event.target, event.amount)
            case e.BudgetReleased():
                self._release(event.agent)
            case _:
                self._keep_use(event)

    def _keep_use(self, event: e.Event) -> None:
        match event:
            case e.ReserveDrawn():
                self._move(("free", "reserve"), ("free", "fleet"), event.amount.triple)
            case e.Covered():
                self._cover(event.source, event.target, event.amount, 1)
            case e.CoverRepaid():
                self._cover(event.target, event.source, event.amount, -1)
            case e.UsageReported(history=True):
                pass  # used before the period: charged to nothing
            case e.UsageReported():
                # What a run or an earlier account had used is not charged to a later one of the same name.
                is_open = event.agent in self.parent and event.lease is None and event.life is None
                account = event.agent if is_open else event.charged or "fleet"
                self._use(account, (event.tokens, event.time_ms, event.cost_nanos))
            case e.UsageCorrected():
                self._correct(event)
            case e.HoldPlaced() | e.HoldExtended() | e.HoldEnded() | e.HoldSettled():
                self._keep_hold(event)

    def _keep_hold(self, event: "e.HoldPlaced | e.HoldExtended | e.HoldEnded | e.HoldSettled") -> None:
        """A hold is moved out of what it had, and with what it has now back in."""
        had = self.holds.pop(event.hold, [])
        has = [(self.payer(event.agent, d), d, 0) for d in DIMENSIONS] if isinstance(event, e.HoldPlaced) else had
        amount = None if isinstance(event, e.HoldEnded | e.HoldSettled) else event.amount
        if amount is not None:
            for payer, d, _ in has:
                units = amount.triple[d] or 0
                assert self.allocated[payer][d] is None or units <= self.at("free", payer, d), "held what is not there"
            has = [(payer, d, units + (amount.triple[d] or 0)) for payer, d, units in has]
        if isinstance(event, e.HoldSettled) and event.partial:
            used = (event.tokens, event.time_ms, event.cost_nanos)
            has = [(payer, d, max(0, units - used[d])) for payer, d, units in has]
        elif isinstance(event, e.HoldSettled | e.HoldEnded):
            has = []
        for payer, d, units in had:
            self._shift(("held", payer), ("free", payer), d, units)
        for payer, d, units in has:
            self._shift(("free", payer), ("held", payer), d, units)
        if has:
            self.holds[event.hold] = has
        if isinstance(event, e.HoldSettled) and not event.history:
            self._use(event.agent, (event.tokens, event.time_ms, event.cost_nanos))

    def _correct(self, event: e.UsageCorrected) -> None:
        """Of a closed period, what had been used when this one began, and the total, move with what was used."""
        if event.record.history:
            return
        self._use(event.charged or "fleet", event.difference)
        if not event.closed_period:
            return
        for d, units in enumerate(event.difference):
            self.opening[d] += units
            total = self.allocated["fleet"][d]
            if total is not None:
                self.allocated["fleet"][d] = total + units
                self.balance[("free", "fleet"), d] += units

    def _shift(self, source: Place, target: Place, d: int, units: int) -> None:
        self.balance[source, d] -= units
        self.balance[target, d] += units

    def _move(self, source: Place, target: Place, amounts: Triple) -> None:
        for d in DIMENSIONS:
            self._shift(source, target, d, amounts[d] or 0)

    def _grant(self, agent: str, amount: Amounts, opened: bool = False) -> None:
        for d in DIMENSIONS:
            units = amount.triple[d]
            if units is None:
                continue
            source = self.payer(self.parent[agent], d)
            assert self.allocated[source][d] is None or units <= self.at("free", source, d), "granted what is not there"
            self._shift(("free", source), ("free", agent), d, units)
            if units and not opened:
                self.allocated[agent][d] = (self.allocated[agent][d] or 0) + units

    def _take_back(self, agent: str, amount: Amounts) -> None:
        for d in DIMENSIONS:
            units = amount.triple[d]
            if units:
                assert units <= self.at("free", agent, d), "gave back what is not there"
                self._shift(("free", agent), ("free", self.payer(self.parent[agent], d)), d, units)
                self.allocated[agent][d] = (self.allocated[agent][d] or 0) - units

    def _cover(self, payer: str, paid: str, amount: Amounts, sign: int) -> None:
        for d in DIMENSIONS:
            units = sign * (amount.triple[d] or 0)
            if payer == "overdraft":
                self.overdraft[d] += units
                self.balance[("free", "fleet"), d] += units
            elif units:
                source = "fleet" if payer == "pool" else payer
                self._shift(("free", source), ("free", "fleet" if paid == "pool" else paid), d, units)

    def _use(self, account: str, amounts: tuple[int, int, int]) -> None:
        for d in DIMENSIONS:
            payer = self.payer(account, d)
            self._shift(("free", payer), ("spent", payer), d, amounts[d])
            self.used[d] += amounts[d]

    def _release(self, agent: str) -> None:
        for d in DIMENSIONS:
            if self.allocated[agent][d] is not None:
                heir = self.payer(self.parent[agent], d)
                assert not self.at("held", agent, d), "a hold outlived its account"
                assert not self.children(agent, d), "a child outlived its parent"
                for kind in ("free", "spent"):
                    self._shift((kind, agent), (kind, heir), d, self.at(kind, agent, d))
        del self.parent[agent], self.allocated[agent], self.given_back[agent]

    def _total(self, event: "e.TotalBudgetSet | e.PeriodRenewed") -> None:
        if isinstance(event, e.PeriodRenewed):
            self.opening = list(self.used)
        self.allocated["fleet"] = list(event.total.triple)
        for d in DIMENSIONS:
            self.overdraft[d] = event.overdraft.triple[d] or 0
            self.balance[("free", "reserve"), d] = event.reserve.triple[d] or 0
            # Whatever is nowhere else lies in the pool.
            elsewhere = sum(
                units for (place, of), units in self.balance.items() if of == d and place != ("free", "fleet")
            )
            self.balance[("free", "fleet"), d] = (event.total.triple[d] or 0) + self.overdraft[d] - elsewhere
