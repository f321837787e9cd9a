"""Corrections in tests of the core: what the manager makes of them out of the log, and what counts after them."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.sources import is_larger
from tallystick.events.log.correction import with_facts
from tallystick.events.log.lookup import Taken
from tallystick.events.log.sources import entries_of
from tallystick.events.messages import proposals as p
from tallystick.events.state.money import Money
from tests.support.core import START, Core

Record = e.UsageReported | e.HoldSettled


def asked(core: Core, position: int, reason: str = "counted twice", **named: Any) -> p.ApplyCorrection:
    """What the manager makes of a correction."""
    command = c.CorrectUsage(position=position, reason=reason, **named)
    return given(core, command)


def given(core: Core, command: c.Command) -> Any:
    """What the manager makes of a message out of the log."""
    newest = dict(entries_of(core.log))
    return with_facts(command, core.ledger, newest.get, is_larger, Taken(), lambda: core.log)


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
            units[event.record.position] = event.counts.units
    return units


def any_correction(core: Core, dice: Random) -> p.ApplyCorrection | None:
    """A correction of any record, up or down; None where there is none."""
    found = records(core)
    if not found:
        return None
    record = dice.choice(found[-40:])
    cost = dice.choice((None, None, "0", "0.01", "2"))
    return asked(core, record.position, usage=Usage(tokens=dice.choice((0, 1, 7, 30, 120, 900)), cost_usd=_cost(cost)))


def corrected_messages() -> list[tuple[dt.datetime, dict[str, Any]]]:
    """Messages, each with its moment, of a fleet in which usage of all kinds is corrected."""
    said: list[tuple[float, dict[str, Any]]] = [
        (0, {"type": "AllocateBudget", "agent": "p", "product": "shop", "budget": {"tokens": 9_000, "cost_usd": "9"}}),
        (0, {"type": "AllocateBudget", "agent": "p/1", "parent": "p", "budget": {"tokens": 2_000}}),
        (1, {"type": "ReportUsage", "id": "r-1", "agent": "p/1", "model": "haiku", "input_tokens": 900}),
        (1, {"type": "ReportUsage", "id": "r-2", "agent": "stray", "usage": {"tokens": 70}}),
        (2, {"type": "Reserve", "id": "h", "agent": "p", "estimate": {"tokens": 500}}),
        (2, {"type": "Settle", "id": "r-3", "hold": "h", "usage": {"tokens": 100}, "final": False}),
        (2, {"type": "ReportUsage", "id": "r-4", "agent": "p", "model": "no-such-model", "input_tokens": 10}),
        (3, _correct("r-1", usage={"tokens": 90})),
        (3, _correct("r-3", usage={"tokens": 300, "cost_usd": "1.5"})),
        (3, _correct("r-4", model="haiku", output_tokens=5)),
        (3, _correct("r-4", usage={"tokens": 5})),
        (3, {"type": "CorrectUsage", "position": 1, "usage": {"tokens": 1}, "reason": "no usage"}),
        (4, {"type": "ReleaseBudget", "agent": "p/1"}),
        (5, {"type": "ReportUsage", "id": "r-5", "agent": "p/1", "usage": {"tokens": 40}}),
        (6, _correct("r-1", usage={"tokens": 1_200})),
        (30, _correct("r-5", usage={"tokens": 4})),
        (30, {"type": "ReleaseBudget", "agent": "p"}),
        (49, _correct("r-1", usage={"tokens": 1})),
        (49, _correct("r-2", usage={"tokens": 7, "time_seconds": 2})),
        (49, _RECONCILED),
        (49, _RECONCILED),
    ]
    return [(START + dt.timedelta(hours=hours), {"id": f"m-{n}", **message}) for n, (hours, message) in enumerate(said)]


_RECONCILED: dict[str, Any] = {
    "type": "RecordReconciliation",
    "bill": "a-digest",
    "provider": "anthropic",
    "first_day": "2026-03-01",
    "last_day": "2026-03-31",
    "billed_usd": "1.5",
    "explained_usd": "1.5",
    "reported_usd": "1.25",
    "short": ["p"],
}
_POSITIONS = {"r-1": 9, "r-2": 12, "r-3": 14, "r-4": 15, "r-5": 31}
"""Where the log of `corrected_messages` has the records of these messages."""


def _correct(id: str, **named: Any) -> dict[str, Any]:
    return {"type": "CorrectUsage", "position": _POSITIONS[id], "reason": "counted twice", **named}


def _cost(text: str | None) -> Any:
    return None if text is None else Decimal(text)
