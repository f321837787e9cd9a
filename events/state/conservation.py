"""The proof that all money is where the accounts say it is: no grant, hold or use is lost or counted twice.

After every commit it covers what the commit touched; at every verification, everything.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain, groupby
from operator import attrgetter

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, TOKENS
from tallystick.events.catalog import Event, UsageCorrected, UsageReported
from tallystick.events.state import inheritance
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT
from tallystick.events.state.limit_subjects import held_units


class BrokenInvariant(AssertionError):
    """Money is not where the accounts say it is: a bug. The fleet stops; nothing is written."""


def check_conserved(ledger: Ledger, events: Iterable[Event] | None = None) -> None:
    """Prove conservation, on what ``events`` touched, or in full where ``events`` is None.

    Raises:
        BrokenInvariant: names the account, the dimension and the sums that differ.
    """
    if events is None:
        touched: Iterable[Account] = ledger.accounts.values()
        _check_children(ledger)
        for wrong in chain(ledger.tasks.wrong(ledger.accounts), inheritance.wrong(ledger.tasks.known)):
            raise BrokenInvariant(f"tasks: {wrong}")
        for wrong in ledger.commitments.wrong(set(ledger.tasks.running)):
            raise BrokenInvariant(f"commitments: {wrong}")
        _check_holds(ledger)
        _check_limits(ledger)
    else:
        touched = _touched(ledger, events)
    for account in touched:
        _check_account(account)
    _check_root(ledger)


def _touched(ledger: Ledger, events: Iterable[Event]) -> set[Account]:
    """The accounts whose balances the events may have changed: those that they name, and those that pay for these."""
    names: set[str | None] = set()
    root = ledger.root
    for kind, group in groupby(events, type):
        alike = list(group)
        for named in _naming(kind):
            names.update(map(named, alike))
    touched: set[Account] = set()
    for name in names:
        account = None if name is None else ledger.accounts.get(name)
        if account is None and name in ledger.released:
            account = ledger.accounts.get(ledger.released[name].parent)
        if account is not None and account.parent is root:
            touched.add(account)  # only the root pays beside it
        elif account is not None:
            assert account.parent is not None
            touched.update((account, *account.payers, *account.parent.payers))
    touched.discard(root)
    return touched


@cache
def _naming(kind: type[Event]) -> tuple[Callable[[Event], str | None], ...]:
    """What gives the fields of a kind of event that name accounts whose balances it may have changed."""
    fields = ("agent", "charged") if kind in (UsageReported, UsageCorrected) else ("agent", "source", "target")
    return tuple(attrgetter(field) for field in fields if hasattr(kind, field))


def _check_account(account: Account) -> None:
    limits, cover, free, held = account.allocated, account.cover, account.free, account.held
    spent, delegated, closed = account.spent, account.delegated, account.closed
    for d in account.dims:
        there, paid = free[d], cover[d]
        sums = there + held[d] + spent[d] + delegated[d] + closed[d]
        granted = limits[d] + paid  # type: ignore[operator]
        if granted != sums:
            raise BrokenInvariant(
                f"{account.id} {EDGE_NAMES[d]}: granted {granted} is not free {there} + held {held[d]}"
                f" + spent {spent[d]} + delegated {delegated[d]} + closed {closed[d]} = {sums}"
            )
        if there < 0 or held[d] < 0 or spent[d] < 0 or delegated[d] < 0:
            raise BrokenInvariant(
                f"{account.id} {EDGE_NAMES[d]}: a balance is below zero: {there}, {held[d]}, {spent[d]}"
            )
        if paid < 0 or (paid and there):
            raise BrokenInvariant(f"{account.id} {EDGE_NAMES[d]}: cover is {paid} with {there} free")


def _check_root(ledger: Ledger) -> None:
    root = ledger.root
    for d in DIMENSIONS:
        if root.allocated[d] is None:
            continue
        sums = root.free[d] + root.held[d] + root.spent[d] + root.delegated[d] + root.closed[d]
        overdraft = root.cover[d]
        reserve = ledger.reserve.free[d]
        if root.granted[d] != sums or root.free[d] < 0 or overdraft < 0 or reserve < 0:
            raise BrokenInvariant(
                f"fleet {EDGE_NAMES[d]}: total + overdraft {root.granted[d]} against {sums},"
                f" pool {root.free[d]}, reserve {reserve}, overdraft {overdraft}"
            )
        if overdraft > 0 and (root.free[d] > 0 or reserve > 0):
            raise BrokenInvariant(
                f"fleet {EDGE_NAMES[d]}: overdraft {overdraft} beside pool {root.free[d]}, reserve {reserve}"
            )


def _check_children(ledger: Ledger) -> None:
    """Every grant is in its child, every hold in its account, and all spending in the fleet's total."""
    granted: dict[Account, list[int]] = {ledger.root: list(ledger.reserve.granted)}
    held: dict[Account, list[int]] = {ledger.root: [0, 0, 0]}
    spent = [0, 0, 0]
    for account in ledger.accounts.values():
        for d in DIMENSIONS:
            if account.allocated[d] is not None:
                granted.setdefault(account.source(d), [0, 0, 0])[d] += account.granted[d]
                spent[d] += account.consumed(d)
    for hold in ledger.holds.values():
        for d in DIMENSIONS:
            held.setdefault(hold.account.payers[d], [0, 0, 0])[d] += hold.amount[d]
    for account in (ledger.root, *ledger.accounts.values()):
        _check_sums(ledger, account, granted.get(account, [0, 0, 0]), held.get(account, [0, 0, 0]))
    for d in DIMENSIONS:
        spent[d] += ledger.root.consumed(d)
        if spent[d] != ledger.spent[d]:
            raise BrokenInvariant(f"fleet {EDGE_NAMES[d]}: spent {ledger.spent[d]}, the accounts say {spent[d]}")


def _check_holds(ledger: Ledger) -> None:
    """What products and runs have set aside is what their holds say."""
    by_product: Counter[str] = Counter()
    by_run: Counter[str] = Counter()
    for hold in ledger.holds.values():
        if hold.account.budget_product is not None:
            by_product[hold.account.budget_product] += hold.amount[TOKENS]
        if hold.account.run is not None:
            by_run[hold.account.run] += hold.amount[TOKENS]
    if ledger.day.counter.held != list(ledger.held):
        raise BrokenInvariant(f"the day's limit holds {ledger.day.counter.held}, the fleet {ledger.held}")
    if +by_product != ledger.day.held_by_product:
        raise BrokenInvariant(f"products hold {dict(ledger.day.held_by_product)}, their holds are {dict(+by_product)}")
    for task, commitment in ledger.commitments.runs.items():
        if commitment.held != by_run[task]:
            raise BrokenInvariant(f"{task} holds {commitment.held} tokens, its holds are {by_run[task]}")


def _check_limits(ledger: Ledger) -> None:
    """What limits hold, and what is committed in them, is what holds and runs say."""
    for wrong in ledger.limits.wrong():
        raise BrokenInvariant(f"limits: {wrong}")
    held: dict[tuple[str, int, str], list[int]] = {}
    committed: Counter[tuple[str, int, str]] = Counter()
    for hold in ledger.holds.values():
        for place in () if hold.limited is None else hold.limited.places:
            so_far = held.setdefault(place, [0] * 7)
            held[place] = [units + more for units, more in zip(so_far, held_units(hold), strict=True)]
    for name, run in ledger.limits.runs.items():
        for place in run.places:
            held.setdefault(place, [0] * 7)[CONCURRENT] += 1
            committed[place] += ledger.commitments.runs[name].open
    for name, state in ledger.limits.states.items():
        rule = state.rule
        for value, counter in state.counters.items():
            place = (name, state.born, value)
            units = held.get(place, [0] * 7)
            expected = ([units[m] for m in rule.measures], committed[place] if rule.is_long else 0)
            if expected != (counter.held, counter.committed):
                raise BrokenInvariant(f"limit {name} of {value} holds {counter.held}, holds and runs say {expected}")


def _check_sums(ledger: Ledger, account: Account, granted: list[int], held: list[int]) -> None:
    for d in DIMENSIONS:
        if account.allocated[d] is None and account is not ledger.root:
            continue
        name = f"{account.id} {EDGE_NAMES[d]}"
        if account.delegated[d] != granted[d]:
            raise BrokenInvariant(f"{name}: delegated {account.delegated[d]}, children hold {granted[d]}")
        if account.held[d] != held[d]:
            raise BrokenInvariant(f"{name}: held {account.held[d]}, its holds are {held[d]}")
