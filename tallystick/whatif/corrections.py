"""Corrections of the log in the other history: made where the usage that they speak of was used there, too."""

from collections.abc import Iterator, Sequence, Set
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from tallystick.config.amounts import COST, MS_PER_SECOND, NANOS_PER_DOLLAR, TIME, TOKENS, Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, less, plus
from tallystick.whatif.sources import Sources, model_of

_Record = e.UsageReported | e.HoldSettled


class Late(NamedTuple):
    """A correction whose usage has come after it, for the run that used it is shifted; with its own id and sender."""

    command: p.ApplyCorrection
    id: str
    by: str


class _Waiting(NamedTuple):
    in_log: e.UsageCorrected
    asked: c.CorrectUsage
    id: str
    by: str


class Corrections:
    """The usage of the other history that the log corrects later. ``corrected`` are the ids of its messages."""

    def __init__(self, corrected: Set[str], sources: Sources) -> None:
        self._corrected = corrected
        self._sources = sources
        self._records: dict[str, tuple[_Record, str, str | None]] = {}
        """By the id of its message: what was used, and the day and the model that it counts for."""
        self._last: dict[str, e.UsageCorrected] = {}
        self._waiting: list[_Waiting] = []

    def follow(self, events: Sequence[e.Event], ledger: Ledger) -> None:
        """Take in what has just happened in the other history; the ledger has followed it."""
        if not self._corrected:
            return
        for event in events:
            if isinstance(event, _Record) and event.id in self._corrected:
                day = event.counts_on or ledger.day.date or event.at.date().isoformat()
                self._records[event.id] = (event, day, model_of(ledger, event))
            elif isinstance(event, e.UsageCorrected):
                self._last[event.record.id] = event

    def command(self, in_log: e.UsageCorrected, asked: c.CorrectUsage, id: str, by: str) -> p.ApplyCorrection | None:
        """What corrects the same usage here; None where it was not used here, or not yet."""
        recorded_of = self._sources.find(in_log.source_id)
        if recorded_of is not None:
            # It may be recorded from another message here: what the operator says of it holds all the same.
            asked = replace(asked, position=recorded_of.record.position)
            return p.ApplyCorrection(asked=asked, id=id, **recorded_of._asdict())
        found = self._records.get(in_log.record.id)
        if found is None:
            self._waiting.append(_Waiting(in_log, asked, id, by))
            return None
        record, day, model = found
        last = self._last.get(record.id)
        own, recorded = e.Said.by(record), e.Said.by(in_log.record)
        if own.units[:COST] == recorded.units[:COST]:
            asked = replace(asked, position=record.position)
        else:
            now = own.units if last is None else last.counts.units
            usage = _usage(less(plus(now, in_log.difference), ZERO))
            asked = c.CorrectUsage(position=record.position, usage=usage, reason=asked.reason)
        return p.ApplyCorrection(asked=asked, record=record, last=last, day=day, model=model, id=id)

    def late(self) -> Iterator[Late]:
        """The corrections whose usage has come since."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            command = self.command(*one)
            if command is not None:
                yield Late(command, one.id, one.by)


def _usage(units: Money) -> Usage:
    return Usage(
        tokens=units[TOKENS],
        time_seconds=Decimal(units[TIME]) / MS_PER_SECOND,
        cost_usd=Decimal(units[COST]) / NANOS_PER_DOLLAR,
    )
