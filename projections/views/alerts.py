"""One row per alert: what it says, of which agent, whom it was for, and what became of it on its way.

The newest ones are live.
"""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar, Final

import msgspec

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode

LIVE_MAX: Final = 100


class AlertRow(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One alert; ``notify`` are the names that it was for, ``delivered`` and ``failed`` those that it (never) reached.

    A name with several addresses is in both lists where only some of them accepted it.
    """

    position: int
    at: dt.datetime
    alert: str
    code: str
    message: str
    agent: str | None = None
    notify: list[str] = []
    delivered: list[str] = []
    failed: list[str] = []


decode = msgspec.json.Decoder(AlertRow).decode


class AlertsView:
    """Folds alerts and their deliveries."""

    name = "alerts"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._look = look
        self._live: dict[int, AlertRow] = {}
        """The newest, by position."""
        self._touched: dict[int, AlertRow] = {}

    def changes(self, last: e.Event) -> Changes:
        rows = {_id(place): Row(encode(row), live=place in self._live) for place, row in self._touched.items()}
        self._touched.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            row = decode(data)
            self._live[row.position] = row

    def _raised(self, event: e.AlertRaised) -> None:
        row = AlertRow(
            position=event.position,
            at=event.at,
            alert=event.alert,
            code=event.code,
            message=event.message,
            agent=event.agent,
            notify=event.notify,
        )
        self._live[row.position] = self._touched[row.position] = row
        if len(self._live) > LIVE_MAX:
            oldest = next(iter(self._live))
            self._touched[oldest] = self._live.pop(oldest)

    def _delivered(self, event: e.AlertDelivered) -> None:
        row = self._row(event.alert)
        if row is not None and event.to not in row.delivered:
            row.delivered = [*row.delivered, event.to]

    def _failed(self, event: e.AlertDeliveryFailed) -> None:
        row = self._row(event.alert)
        if row is not None and event.to not in row.failed:
            row.failed = [*row.failed, event.to]

    def _row(self, alert: str) -> AlertRow | None:
        """The row of an alert, whose name ends with its position, to be changed."""
        place = alert.rpartition("-")[2]
        position = int(place) if place.isascii() and place.isdigit() else 0
        row = self._live.get(position) or self._touched.get(position)
        if row is None:
            kept = self._look(self.name, _id(position))
            row = None if kept is None else decode(kept)
        if row is None or row.alert != alert:
            return None
        self._touched[position] = row
        return row

    steps: ClassVar[Steps] = {
        e.AlertRaised: _raised,
        e.AlertDelivered: _delivered,
        e.AlertDeliveryFailed: _failed,
    }


def _id(position: int) -> str:
    """Ids in the order of positions."""
    return f"{position:019}"
