"""Corrections in tests of the core: what the manager makes of them out of the log, and what counts after them."""

from decimal import Decimal
from random import Random
from typing import Any

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.correction import with_record
from tallystick.events.log.lookup import Taken
from tallystick.events.messages import proposals as p
from tallystick.events.state.accounts import Money
from tests.support.core import Core

Record = e.UsageReported | e.HoldSettled


def asked(core: Core, position: int, reason: str = "counted twice", **named: Any) -> p.ApplyCorrection:
    """What the manager makes of a correction."""
    return with_record(c.CorrectUsage(position=position, reason=reason, **named), core.ledger, Taken(), core.log)


def correction(core: Core, record: Record, used: int | None = None, cost: Any = None) -> p.ApplyCorrection:
    """A correction of a record's tokens, or its cost."""
    return asked(core, record.position, usage=Usage(tokens=used, cost_usd=cost))


def records(core: Core) -> list[Record]:
    """All records of usage."""
    return [event for event in core.log if isinstance(event, Record)]


def counted(core: Core) -> dict[int, Money]:
    """By position of each record of usage, what counts for it now."""
    units = {event.position: (event.tokens, event.time_ms, event.cost_nanos) for event in records(core)}
    for event in core.log:
        if isinstance(event, e.UsageCorrected):
            units[event.record.position] = event.after.units
    return units


def any_correction(core: Core, dice: Random) -> p.ApplyCorrection | None:
    """A correction of any record, up or down; None where there is none."""
    found = records(core)
    if not found:
        return None
    record = dice.choice(found[-40:])
    cost = dice.choice((None, None, "0", "0.01", "2"))
    return asked(core, record.position, usage=Usage(tokens=dice.choice((0, 1, 7, 30, 120, 900)), cost_usd=_cost(cost)))


def _cost(text: str | None) -> Any:
    return None if text is None else Decimal(text)
