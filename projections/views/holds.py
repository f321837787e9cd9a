"""One row per hold that stands."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.accounts import Balances, Hold, Notes
from tallystick.events.state.money import Money, less, money, plus
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved


class HoldRow(msgspec.Struct, omit_defaults=True, gc=False):
    """One hold; the amount in internal units (tokens, milliseconds, nano-dollars). ``labels``: as it was placed."""

    hold: str
    agent: str
    amount: Amounts
    labels: dict[str, str] | None = None
    estimated: bool = False
    """It was learned from earlier outputs."""
    last_call: bool = False
    booked: Amounts = Amounts()
    """What parts of a settlement have used."""


decode = msgspec.json.Decoder(HoldRow).decode


class HoldsView:
    """Folds the rows of holds, from which the shared ``balances`` go on."""

    name = "holds"
    version = 4

    def __init__(self, balances: Balances, look: Look) -> None:
        self._balances = balances
        self._rows: dict[str, Row | None] = {}

    def changes(self, last: e.Event) -> Changes:
        rows, self._rows = self._rows, {}
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            row = decode(data)
            account = self._balances.accounts.get(row.agent)
            if account is None:
                continue  # a row is missing in the file: the log does not fit when it comes to this hold
            # No view asks when a hold expires.
            amount = money(row.amount.triple)
            self._balances.holds[row.hold] = Hold(
                id=row.hold,
                agent=row.agent,
                amount=amount,
                ttl_ms=0,
                expires_at=EPOCH,
                lease=None,
                placed=amount,
                booked=money(row.booked.triple),
                placed_at=EPOCH,
                rejects_overage=False,
                notes=None if row.labels is None else Notes(row.labels),
                spends=False,
                model=None,
                last_call=row.last_call,
                estimated=row.estimated,
                got=0,
                limited=None,
                account=account,
            )

    def _placed(self, event: e.HoldPlaced) -> None:
        estimated = event.estimated_by == "quantile"
        row = HoldRow(event.hold, event.agent, event.amount, event.labels, estimated, event.last_call)
        self._rows[event.hold] = Row(encode(row), live=True)

    def _extended(self, event: e.HoldExtended) -> None:
        hold = self._balances.holds[event.hold]
        if event.amount is not None:
            self._put(hold, plus(hold.amount, money(event.amount.triple)), hold.booked)

    def _settled(self, event: e.HoldSettled) -> None:
        """A part leaves what the hold had beyond it."""
        if event.partial:
            hold = self._balances.holds[event.hold]
            used = (event.tokens, event.time_ms, event.cost_nanos)
            self._put(hold, less(hold.amount, used), plus(hold.booked, used))
        else:
            self._rows[event.hold] = None

    def _ended(self, event: "e.HoldEnded | e.HoldSpent") -> None:
        self._rows[event.hold] = None

    def _put(self, hold: Hold, amount: Money, booked: Money) -> None:
        labels = None if hold.notes is None else hold.notes.labels
        row = HoldRow(hold.id, hold.agent, moved(amount), labels, hold.estimated, hold.last_call, moved(booked))
        self._rows[hold.id] = Row(encode(row), live=True)

    steps: ClassVar[Steps] = {
        e.HoldPlaced: _placed,
        e.HoldExtended: _extended,
        e.HoldSettled: _settled,
        e.HoldSpent: _ended,
        e.HoldEnded: _ended,
    }
