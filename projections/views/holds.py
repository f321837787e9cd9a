"""One row per hold that stands."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.accounts import Balances, Hold, money
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode


class HoldRow(msgspec.Struct, gc=False):
    """One hold; the amount in internal units (tokens, milliseconds, nano-dollars)."""

    hold: str
    agent: str
    amount: Amounts


decode = msgspec.json.Decoder(HoldRow).decode


class HoldsView:
    """Folds the rows of holds, from which the shared ``balances`` go on."""

    name = "holds"
    version = 1

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
            self._balances.holds[row.hold] = Hold(
                row.hold, row.agent, money(row.amount.triple), 0, EPOCH, None, account
            )

    def _placed(self, event: e.HoldPlaced) -> None:
        self._rows[event.hold] = Row(encode(HoldRow(event.hold, event.agent, event.amount)), live=True)

    def _ended(self, event: "e.HoldSettled | e.HoldEnded") -> None:
        self._rows[event.hold] = None

    steps: ClassVar[Steps] = {e.HoldPlaced: _placed, e.HoldSettled: _ended, e.HoldEnded: _ended}
