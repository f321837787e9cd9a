"""Forecasts beside what happened: one row per dimension and stage counts how they came out.

A forecast's stage is the number of whole tenths of the budget that were consumed when it was made.
"""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode

CLOSE = 0.10
"""A forecast is a hit where it is within this share of what happened (spec 2)."""


class StageRow(msgspec.Struct, gc=False):
    """How the forecasts of one stage came out.

    ``hits`` were within 10 % of the step at which the budget was used up, ``baseline_hits`` of the average rate's would
    have been; ``covered`` counts the 80 % intervals that held it, ``width`` is the sum of their widths as shares of it.
    """

    dimension: str
    stage: int
    scored: int = 0
    hits: int = 0
    baseline_hits: int = 0
    covered: int = 0
    width: float = 0.0


decode = msgspec.json.Decoder(StageRow).decode


class AccuracyView:
    """Folds the scores of forecasts."""

    name = "accuracy"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._stages: dict[str, StageRow] = {}
        self._changed: set[str] = set()

    def changes(self, last: e.Event) -> Changes:
        rows = {name: Row(encode(self._stages[name]), live=True) for name in self._changed}
        self._changed.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            row = decode(data)
            self._stages[_name(row.dimension, row.stage)] = row

    def _score(self, event: e.ForecastScored) -> None:
        actual = event.actual
        for outcome in event.forecasts:
            name = _name(event.dimension, outcome.stage)
            row = self._stages.get(name)
            if row is None:
                row = self._stages[name] = StageRow(event.dimension, outcome.stage)
            self._changed.add(name)
            row.scored += 1
            row.hits += abs(outcome.predicted - actual) <= CLOSE * actual
            row.baseline_hits += abs(outcome.baseline - actual) <= CLOSE * actual
            row.covered += outcome.low <= actual <= outcome.high
            row.width += (outcome.high - outcome.low) / actual if actual else 0.0

    steps: ClassVar[Steps] = {e.ForecastScored: _score}


def _name(dimension: str, stage: int) -> str:
    return f"{dimension}/{stage}"
