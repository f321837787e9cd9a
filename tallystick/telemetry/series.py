"""Cumulative series: only what a figure has more than the last one is reported, also after a restart of the server.

What was reported of a series is in the log, in pieces of an hour at most: the piece that begins at a figure of 1,200
has the source ``otlp/SERIES/1200``, and while its hour lasts, a larger figure replaces it. So a series is a chain: each
piece says where the next one begins. A server that does not know a series yet reads its chain once.
"""

from collections import OrderedDict
from typing import Final, NamedTuple, Protocol

from tallystick.events.catalog import HoldSettled, Said, UsageCorrected, UsageReported
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Store
from tallystick.sources_of_tools import source_named
from tallystick.telemetry.metrics import Figure

SERIES_MAX: Final = 100_000
"""So many series are known at a time; another one is read again when it comes."""
_HOUR_NS: Final = 3_600 * 10**9


class _Reached(NamedTuple):
    """How far a series is: its last piece began at ``base`` tokens and ``calls`` calls, and says so many."""

    base: int = 0
    calls: int = 0
    hour: int = -1
    said: int = 0
    said_calls: int = 0


class Increase(NamedTuple):
    """What is to be reported of a series: the piece, with all that it has by now."""

    source: str
    tokens: int
    requests: int


class Access(Protocol):
    """What is needed of the access to a fleet."""

    @property
    def opening(self) -> object: ...


class LoggedFleet(Protocol):
    """What is needed of a fleet."""

    @property
    def store(self) -> Store: ...
    @property
    def access(self) -> Access: ...


class SeriesOfFleet:
    """How far the cumulative series of a fleet are. Not for several threads at a time.

    Where servers share the fleet, another one may have gone on with a series: what is known is of one opening.
    """

    def __init__(self, fleet: LoggedFleet) -> None:
        self._fleet = fleet
        self._opening: object = None
        self._reached: OrderedDict[str, _Reached] = OrderedDict()

    def increase(self, figure: Figure) -> Increase | None:
        """What a figure adds to its series; None where it is a repeat, or older than what was reported.

        Raises:
            StoreError: the log cannot be read.
        """
        opening = self._fleet.access.opening
        if opening is not self._opening:
            self._reached.clear()
            self._opening = opening
        at = self._reached.get(figure.series) or self._read(figure.series)
        more = figure.value - at.base - at.said
        if more <= 0:
            self._keep(figure.series, at)
            return None
        hour = figure.at_ns // _HOUR_NS
        if hour != at.hour:
            at = _Reached(at.base + at.said, at.calls + at.said_calls, hour)
        calls = max(at.said_calls, figure.requests - at.calls) if figure.requests > 2 else figure.requests
        at = at._replace(said=figure.value - at.base, said_calls=calls)
        self._keep(figure.series, at)
        return Increase(_source(figure.series, at.base), at.said, at.said_calls)

    def forget(self, series: str) -> None:
        """A report of a series was not taken: what counts of it is in the log."""
        self._reached.pop(series, None)

    def forget_all(self) -> None:
        """It is not known of which series the reports were taken."""
        self._reached.clear()

    def _keep(self, series: str, at: _Reached) -> None:
        self._reached[series] = at
        self._reached.move_to_end(series)
        if len(self._reached) > SERIES_MAX:
            self._reached.popitem(last=False)

    def _read(self, series: str) -> _Reached:
        """What the log says of a series, piece by piece."""
        store, at = self._fleet.store, _Reached()
        while True:
            base = at.base + at.said
            position = store.sources.find(_source(series, base))
            record = None if position is None else next(iter(store.read(position - 1, position)), None)
            if record is None:
                return at
            event = event_of(record)
            assert isinstance(event, UsageReported | HoldSettled | UsageCorrected)
            said, calls = _said(event)
            first = event.record if isinstance(event, UsageCorrected) else event
            when = getattr(first, "occurred_at", None) or first.at
            hour = int(when.timestamp()) // 3_600
            if not said:
                return at
            at = _Reached(base, at.calls + at.said_calls, hour, said, calls)


def _said(event: UsageReported | HoldSettled | UsageCorrected) -> tuple[int, int]:
    """The most tokens that a piece has said, and its calls."""
    counts = event.counts if isinstance(event, UsageCorrected) else Said.by(event)
    most = event.source_most if isinstance(event, UsageCorrected) else None
    return (counts.tokens if most is None else most.tokens or 0), counts.requests or 0


def _source(series: str, base: int) -> str:
    return source_named("otlp", series, base)
