"""One row per hold that stands."""

from collections.abc import Iterable

import msgspec

from tallystick.events import catalog as e
from tallystick.events.accounts import money
from tallystick.events.amounts import Amounts
from tallystick.events.standing import Standings
from tallystick.projections.view import Changes, Row, encode


class HoldRow(msgspec.Struct, gc=False):
    """One hold; the amount in internal units (tokens, milliseconds, nano-dollars)."""

    hold: str
    agent: str
    amount: Amounts


class HoldsView:
    """Folds the rows of holds, which the shared ``standings`` need to go on."""

    name = "holds"
    version = 1

    def __init__(self, standings: Standings) -> None:
        self._standings = standings
        self._rows: dict[str, Row | None] = {}

    def fold(self, event: e.Event) -> None:
        if isinstance(event, e.HoldPlaced):
            self._rows[event.hold] = Row(encode(HoldRow(event.hold, event.agent, event.amount)), live=True)
        elif isinstance(event, e.HoldSettled | e.HoldEnded):
            self._rows[event.hold] = None

    def changes(self) -> Changes:
        rows, self._rows = self._rows, {}
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            row = msgspec.json.decode(data, type=HoldRow)
            self._standings.holds[row.hold] = money(row.amount.triple)
