"""A naive model of lives: every account that ever was is an object of its own, with its parent for ever."""

from random import Random
from typing import Any

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, fleet, hold, settle, use

NAMES = ("a", "b", "c", "d")
PRODUCTS = (None, "A", "B")


class Life:
    """One account: below its parent, for a product, open until it is released."""

    def __init__(self, name: str, parent: "Life | None", product: str | None) -> None:
        self.name = name
        self.parent = parent
        own = product if product is not None else None if parent is None else parent.product
        self.product: str | None = own
        self.is_open = True


class Lives:
    """All of them; of each id the open one and the last one."""

    def __init__(self) -> None:
        self.last: dict[str, Life] = {}
        self.holds: dict[str, Life] = {}
        self.late: set[str] = set()

    def open_ones(self) -> list[str]:
        return [name for name, life in self.last.items() if life.is_open]

    def open(self, name: str, parent: str | None, product: str | None) -> Life:
        life = self.last[name] = Life(name, None if parent is None else self.last[parent], product)
        return life

    def close(self, name: str) -> None:
        closed = self.last[name]
        for life in self.last.values():
            above: Life | None = life
            while above is not None and above is not closed:
                above = above.parent
            if above is closed:
                life.is_open = False
        self.late |= {hold for hold, life in self.holds.items() if not life.is_open}

    def charged(self, life: Life) -> str | None:
        """The open account that pays for a use of a life; None for the fleet."""
        at: Life | None = life
        while at is not None and not at.is_open:
            at = at.parent
        return None if at is None else at.name


def run(dice: Random, steps: int) -> Core:
    """Random allocations, releases, holds, settlements and reports, in and out of their lives, with restarts."""
    core, model = Core(fleet(10**9), compares=False), Lives()
    for number in range(steps):
        core.wait(dice.choice((0, 1, 30, 4_000)))
        _step(core, model, dice, number)
        if not dice.randint(0, 9):
            core.restart()
    return core


def _step(core: Core, model: Lives, dice: Random, number: int) -> None:
    name = dice.choice(NAMES)
    life = model.last.get(name)
    is_open = life is not None and life.is_open
    match dice.randint(0, 5):
        case 0 | 1 if not is_open:
            parent, product = dice.choice([None, *model.open_ones()]), dice.choice(PRODUCTS)
            wanted = allocate(name, dice.choice((1, 50, 1_000)), **_named(parent=parent, product=product))
            if not isinstance(core.when(wanted), Refusal):
                model.open(name, parent, product)
        case 0 if is_open:
            core.given(c.ReleaseBudget(agent=name))
            model.close(name)
        case 2 | 3 if is_open:
            answer = core.when(hold(name, f"h-{number}", dice.choice((1, 20)), ttl_seconds=dice.choice((10, 9_000))))
            if not isinstance(answer, Refusal):
                assert life is not None
                model.holds[f"h-{number}"] = life
        case 4 if model.holds:
            hold_id = dice.choice(list(model.holds))
            core.given(settle(hold_id, dice.choice((1, 30))))
            _check(core, model, model.holds.pop(hold_id))
        case _:
            core.given(use(name, dice.choice((1, 30))))
            if life is not None:
                _check(core, model, life)


def _named(**labels: str | None) -> dict[str, Any]:
    return {key: value for key, value in labels.items() if value is not None}


def _check(core: Core, model: Lives, life: Life) -> None:
    """The life pays, or what pays for it; and its product is what it counts for."""
    used = [event for event in core.own if isinstance(event, e.UsageReported | e.HoldSettled)]
    (event,) = used
    payer = event.account if event.account in core.ledger.accounts else getattr(event, "charged", None)
    assert payer == model.charged(life)
    if isinstance(event, e.UsageReported) and not life.is_open:
        assert event.product == life.product
    products = core.ledger.day.by_product
    assert sum(products.values()) <= core.ledger.used_today[0]
