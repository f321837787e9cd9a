"""A parent and a child, each with all that a delegation leaves in a log."""

from tallystick.config.amounts import Amounts
from tallystick.events import messages as c
from tallystick.events.messages import delegation as d
from tests.support.core import Core, allocate, budget, fleet, use

TEAM, FLEET = "team", "f-1"


def parent() -> Core:
    """A fleet of 10,000 tokens with an account of 1,000 for the fleet `FLEET`, which has begun."""
    core = Core(fleet(10_000, "10"), allocate(TEAM, 1_000, "1", delegated=True))
    return core.given(c.Heartbeat(agent=TEAM, child=c.FromChild(fleet=FLEET)))


def draw(number: int, amount: int, by: str = FLEET) -> c.BorrowFromPool:
    return c.BorrowFromPool(agent=TEAM, amount=budget(amount), child=c.FromChild(fleet=by, number=number))


def give_back(number: int, amount: int) -> c.ReturnToPool:
    return c.ReturnToPool(agent=TEAM, amount=budget(amount), child=c.FromChild(fleet=FLEET, number=number))


def report(first: int, upto: int, amount: int, by: str = FLEET) -> c.ReportUsage:
    return c.ReportUsage(agent=TEAM, usage=budget(amount), child=c.FromChild(fleet=by, first=first, upto=upto))


def child() -> Core:
    """A fleet whose total is an account of another; its parent has granted 1,000 tokens."""
    delegate = {"parent": "https://parent.example", "account": TEAM, "budget": {"tokens": 1_000}}
    core = Core(c.LoadConfig(config={"delegate": delegate, "emergency_reserve_percent": 0}))
    return core.given(hear(1_000))


def hear(granted: int, booked: int = 0, number: int = 0, stopped: str | None = None) -> d.HearParent:
    return d.HearParent(granted=Amounts(granted), booked=booked, number=number, stopped=stopped)


def both_ends() -> tuple[Core, Core]:
    """A parent and a child to which everything has happened."""
    at_parent = parent().given(draw(1, 500), give_back(2, 300), report(1, 9, 200))
    at_child = child().given(d.AskReturn(amount=Amounts(200)), allocate("ann", 500), use("ann", 30), d.ReportRange())
    own = at_child.ledger.delegation
    assert own is not None
    assert own.span is not None
    return at_parent, at_child.given(hear(1_000, booked=own.span.upto, number=1, stopped="team was stopped"))
