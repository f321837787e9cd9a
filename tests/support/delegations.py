"""Many fleets below one, over a network that loses, doubles and delays, and machines that fail between any two steps.

Everything is chosen by one seed. After each step the sum that the design promises is checked at both ends.
"""

import datetime as dt
import random
from fractions import Fraction
from typing import Any, NamedTuple

from tallystick.config.amounts import DIMENSIONS
from tallystick.delegation.child_state import child_state_of
from tallystick.delegation.comparing import compared, handed_of, own_of
from tallystick.delegation.exchange import Exchange
from tallystick.delegation.rules import Rules
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.money import money
from tests.support.core import START
from tests.support.fleet_node import Node

TOTAL = {"tokens": 10_000, "time_seconds": 500, "cost_usd": "20.000000007"}
AT_HAND = {"tokens": 400, "time_seconds": 20, "cost_usd": "0.750000003"}
"""A hundred children ask for four times what there is."""
_FREE = {"emergency_reserve_percent": 0, "circuit_breaker": {"trip_conditions": []}}
_ROUNDS_MIN, _ROUNDS_MAX = 8, 60
"""Of exchanges at the end. Where a parent that lacks budget opens accounts late, what is below it comes later still."""


class Sent(NamedTuple):
    """An array on its way: to the parent, or with its answers back. Another life of the child takes no answer."""

    child: int
    life: int
    messages: list[dict[str, Any]]
    replies: list[dict[str, Any]] | None


class World:
    """One parent and its children. ``below``: so many of the children have a child of their own."""

    def __init__(self, chance: random.Random, children: int, below: int = 0) -> None:
        self.random = chance
        self.now = START
        self.top = Node("top", {"total_budget": TOTAL, "max_pool_share_percent": 100, **_FREE}, self.now)
        self.nodes: list[Node] = []
        self.parents: list[Node] = []
        self.exchanges: list[Exchange] = []
        self.lives: list[int] = []
        self.network: list[Sent] = []
        self.overruns = 0
        for n in range(children):
            self._add(self.top, f"team-{n}")
        for n in range(below):
            self._add(self.nodes[n], f"squad-{n}")

    def _add(self, parent: Node, account: str) -> None:
        """An account for another fleet, with nothing or little in it, and that fleet."""
        self._delegate(parent, account)
        config = {"delegate": {"parent": "http://parent:1", "account": account, "budget": AT_HAND}, **_FREE}
        self.nodes.append(Node(account, {**config, "max_pool_share_percent": 100}, self.now))
        self.parents.append(parent)
        self.lives.append(0)
        self.exchanges.append(self._exchange(len(self.nodes) - 1))

    def _delegate(self, parent: Node, account: str) -> None:
        asked = {"tokens": 0, "time_seconds": 0, "cost_usd": "0"}
        message = {"type": "AllocateBudget", "agent": account, "budget": asked, "delegated": True}
        # A child opens none before its own parent has answered: then an operator tries again (`operate`).
        parent.tell(message, self.now)

    def _exchange(self, n: int) -> Exchange:
        node = self.nodes[n]
        at_hand = node.ledger.rules.config.delegate
        assert at_hand is not None
        return Exchange(node.fleet, Rules(at_hand.budget.amounts, 60, Fraction(0)), node.ledger.position)

    # --- steps --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One random step of one of the parts, and the check of the sums."""
        self.now += dt.timedelta(milliseconds=self.random.choice((1, 50, 2_000, 20_000)))
        n = self.random.randrange(len(self.nodes))
        choice = self.random.random()
        if choice < 0.25:
            self.record(n)
        elif choice < 0.45:
            self.send(n)
        elif choice < 0.75:
            self.deliver()
        elif choice < 0.93:
            self.work(n)
        elif choice < 0.97:
            self.fail(n)
        else:
            self.operate(n)
        self.check(n)

    def record(self, n: int) -> None:
        """A child decides what it will ask for or report."""
        node = self.nodes[n]
        wish = self.exchanges[n].wish(child_state_of(node.ledger), self.now)
        if wish is not None:
            node.record(wish, self.now)

    def send(self, n: int) -> None:
        """A child sends what is under way, once or twice."""
        messages = self.exchanges[n].messages(child_state_of(self.nodes[n].ledger))
        sent = Sent(n, self.lives[n], messages, None)
        self.network += [sent] * self.random.choice((1, 1, 1, 2))

    def deliver(self) -> None:
        """Something of what is on its way arrives, is lost, or arrives and stays on its way."""
        if not self.network:
            return
        place = self.random.randrange(len(self.network))
        sent = self.network[place]
        fate = self.random.random()
        if fate < 0.9:
            self.network.pop(place)
        if fate >= 0.2:
            self.arrive(sent)

    def arrive(self, sent: Sent) -> None:
        """The parent decides an array and answers, unless it fails before or after its commit; or a child hears."""
        n = sent.child
        if sent.replies is not None:
            if sent.life == self.lives[n]:
                self.hear(n, sent)
            return
        parent, failing = self.parents[n], self.random.random()
        replies = parent.ask(sent.messages, self.now, fails=failing < 0.02)
        if failing < 0.04:
            self.fail_node(parent)
            return
        self.network += [sent._replace(replies=replies)] * self.random.choice((1, 1, 1, 2))

    def hear(self, n: int, sent: Sent) -> None:
        """A child takes the answers."""
        assert sent.replies is not None
        command = self.exchanges[n].heard(sent.messages, sent.replies, self.now)
        if command is not None:
            answer = self.nodes[n].record(command, self.now)
            assert "ok" in answer, answer
            self.exchanges[n].recorded(command)

    def work(self, n: int) -> None:
        """The agents of a child are given budget, hold, and use more than they were given now and then."""
        node, agent = self.nodes[n], f"a-{self.random.randrange(3)}"
        amount = self.random.choice((1, 20, 90))
        cost, seconds = f"{amount / 1_000:.9f}", amount / 20
        budget = {"tokens": amount, "time_seconds": seconds, "cost_usd": cost}
        kind = self.random.choice(("AllocateFromPool", "Reserve", "Settle", "ReportUsage", "ReleaseBudget"))
        message: dict[str, Any] = {"type": kind, "agent": agent}
        if kind == "AllocateFromPool":
            message["request"] = budget
        elif kind == "Reserve":
            message["estimate"] = budget
        elif kind == "ReportUsage":
            message["usage"] = budget
        elif kind == "Settle":
            hold = next(iter(node.ledger.holds), None)
            if hold is None:
                return
            message = {"type": kind, "hold": hold, "usage": budget}
        answer = node.tell(message, self.now)
        error = answer.get("error", {})
        if error.get("code") == "pool_exhausted":
            self.exchanges[n].rules.want((amount, int(seconds * 1000), int(amount * 1_000_000)))

    def fail(self, n: int) -> None:
        """A child, or the parent, fails and begins again from its log."""
        self.fail_node(self.top if self.random.random() < 0.1 else self.nodes[n])

    def fail_node(self, node: Node) -> None:
        """It begins again; what it had heard and not recorded is lost."""
        node.open(self.now)
        for n, one in enumerate(self.nodes):
            if one is node:
                self.lives[n] += 1
                self.exchanges[n] = self._exchange(n)

    def operate(self, n: int) -> None:
        """An operator of the parent grants more, or stops and resumes."""
        account, parent = self.nodes[n].name, self.parents[n]
        kind = self.random.choice(("BorrowFromPool", "Stop", "Resume", "AllocateBudget"))
        if kind == "AllocateBudget":
            self._delegate(parent, account)
            return
        message: dict[str, Any] = {"type": kind, "agent": account}
        if kind == "BorrowFromPool":
            message["amount"] = {"tokens": self.random.randrange(1, 50)}
        elif kind == "Stop":
            message["reason"] = "enough"
        parent.tell(message, self.now)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def check(self, n: int) -> None:
        """A child's total is never more than what its account is allocated, and each fleet adds up."""
        node, parent = self.nodes[n], self.parents[n]
        account = parent.ledger.accounts.get(node.name)
        if account is None:
            own, total = node.ledger.delegation, money(node.ledger.total)
            assert not any(total) or (own is not None and own.ended and total <= tuple(node.ledger.spent))
            return
        for d in DIMENSIONS:
            total, allocated = node.ledger.total[d], account.allocated[d]
            assert total is not None
            assert allocated is not None
            assert total <= allocated, f"{node.name} has {total} of {allocated} in dimension {d}"

    def check_all(self) -> None:
        """The sum of all that the children may grant is within what the top has."""
        for n in range(len(self.nodes)):
            self.check(n)
        for node in (self.top, *self.nodes):
            check_conserved(node.ledger)
        for d in DIMENSIONS:
            granted = sum(
                (node.ledger.total[d] or 0)
                for node, parent in zip(self.nodes, self.parents, strict=True)
                if parent is self.top
            )
            whole = self.top.ledger.total[d]
            assert whole is not None
            assert granted <= whole, f"{granted} is granted of {whole} in dimension {d}"

    # --- the end ------------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """What is on its way arrives, nothing is lost any more, and children exchange until nothing is under way."""
        while self.network:
            self.arrive(self.network.pop(self.random.randrange(len(self.network))))
        for rounds in range(_ROUNDS_MAX):
            if rounds >= _ROUNDS_MIN and self._all_is_booked():
                return
            # From the leaves up: what a child reports is its parent's own use.
            for n in reversed(range(len(self.nodes))):
                self._resume(self.nodes[n])
                self._exchange_once(n)

    def _all_is_booked(self) -> bool:
        """Whether each child has an account at its parent that has used what the child has."""
        accounts = [
            parent.ledger.accounts.get(node.name) for node, parent in zip(self.nodes, self.parents, strict=True)
        ]
        return all(
            account is not None and all(account.consumed(d) == node.ledger.spent[d] for d in DIMENSIONS)
            for node, account in zip(self.nodes, accounts, strict=True)
        )

    def _resume(self, node: Node) -> None:
        parent = self.parents[self.nodes.index(node)]
        self._delegate(parent, node.name)
        parent.tell({"type": "Resume", "agent": node.name}, self.now)

    def _exchange_once(self, n: int) -> None:
        self.now += dt.timedelta(seconds=5)
        self.record(n)
        messages = self.exchanges[n].messages(child_state_of(self.nodes[n].ledger))
        replies = self.parents[n].ask(messages, self.now)
        self.hear(n, Sent(n, self.lives[n], messages, replies))

    def close(self, n: int) -> None:
        """A child releases its agents and closes; its parent releases the account."""
        node = self.nodes[n]
        for agent in list(node.ledger.names):
            node.tell({"type": "ReleaseBudget", "agent": agent}, self.now)
        assert "ok" in node.tell({"type": "ReleaseBudget", "agent": "fleet"}, self.now)
        for _ in range(4):
            self._exchange_once(n)
        assert node.name not in self.parents[n].ledger.accounts

    def _opened(self) -> list[tuple[Node, Node]]:
        """The children with an account at their parent. One that is in a crisis opens none."""
        pairs = list(zip(self.nodes, self.parents, strict=True))
        assert all(node.name in parent.ledger.accounts or parent.ledger.response >= 3 for node, parent in pairs)
        return [(node, parent) for node, parent in pairs if node.name in parent.ledger.accounts]

    def verify(self) -> None:
        """Every log says the same as its parent's."""
        events = {id(node): node.events() for node in (self.top, *self.nodes)}
        for node, parent in self._opened():
            own = own_of(events[id(node)])
            result = compared(own, handed_of(events[id(parent)], own.account or "", node.fleet), node.fleet)
            assert not result.problems, f"{node.name}: {result.problems}"

    def check_end(self) -> None:
        """All use of every child is booked at its parent, once; what was overrun is covered there."""
        self.check_all()
        self.verify()
        for node, parent in self._opened():
            account = parent.ledger.accounts[node.name]
            own = node.ledger.delegation
            assert own is not None
            assert own.asked is None or own.asked.kind != "return", "a return is under way"
            if own.asked is None:
                assert node.ledger.total == account.allocated, f"{node.name}: {node.ledger.total}, {account.allocated}"
            for d in DIMENSIONS:
                assert account.consumed(d) == node.ledger.spent[d], f"{node.name}: {d}"
                overrun = account.consumed(d) - (account.allocated[d] or 0)
                assert account.cover[d] >= overrun
                self.overruns += overrun > 0
