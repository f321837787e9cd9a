"""One row per open agent: the newest forecast that was shown, acted on, or made when another tenth was consumed."""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.state.accounts import Balances
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode


class ForecastRow(msgspec.Struct, gc=False):
    """The newest forecast for an agent, and where in the log it stands."""

    agent: str
    position: int
    at: dt.datetime
    why: str
    predictions: list[Prediction]


decode = msgspec.json.Decoder(ForecastRow).decode


class ForecastsView:
    """Folds the newest forecasts. It remembers nothing: each row is all of one event."""

    name = "forecasts"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._rows: dict[str, Row | None] = {}

    def _made(self, event: e.ForecastMade) -> None:
        row = ForecastRow(event.agent, event.position, event.at, event.why, event.predictions)
        self._rows[event.agent] = Row(encode(row), live=True)

    def _released(self, event: e.BudgetReleased) -> None:
        self._rows[event.agent] = None

    steps: ClassVar[Steps] = {e.ForecastMade: _made, e.BudgetReleased: _released}

    def changes(self, last: e.Event) -> Changes:
        rows, self._rows = self._rows, {}
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        """Nothing is needed to go on."""
