"""The server's own counts, and the fleet's figures, in the text format of Prometheus (base units)."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of durations, in seconds."""
STREAM: Final = "stream"
"""The endpoint whose requests last as long as their clients like."""
_PARTS: Final = {
    "total": "total",
    "total_allocated": "allocated",
    "total_consumed": "consumed",
    "pool_available": "pool",
    "reserve": "reserve",
    "overdraft": "overdraft",
}
_UNITS: Final = {"tokens": "tokens", "time_seconds": "seconds", "cost_usd": "dollars"}


class Measures:
    """Requests by endpoint and status, and how long they took. Endpoints are those that exist, so they are few."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._refused: dict[str, int] = defaultdict(int)
        self._links: dict[str, int] = defaultdict(int)
        self.in_progress = 0
        self.streams = 0

    def note(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request that is over. How long a stream was open says nothing of how long answers take."""
        self._requests[endpoint, status] += 1
        if endpoint == STREAM:
            return
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def refuse(self, code: str, count: int = 1) -> None:
        """Count what its sender may not do, or who it was not known."""
        self._refused[code] += count

    def link(self, outcome: str) -> None:
        """Count what became of a link in an alert that was opened or used."""
        self._links[outcome] += 1

    def text(self) -> str:
        """The counts as lines."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _head("tallystick_http_requests_total", "counter", "Requests by endpoint and status.")
        for (endpoint, status), count in sorted(self._requests.items()):
            yield f'tallystick_http_requests_total{{endpoint="{endpoint}",status="{status}"}} {count}'
        yield from _head("tallystick_http_requests_in_progress", "gauge", "Requests that are not answered yet.")
        yield f"tallystick_http_requests_in_progress {self.in_progress}"
        yield from _head("tallystick_http_streams", "gauge", "Event streams that are open.")
        yield f"tallystick_http_streams {self.streams}"
        yield from _head("tallystick_http_access_refusals_total", "counter", "Refused for who sent it, by code.")
        for code, count in sorted(self._refused.items()):
            yield f'tallystick_http_access_refusals_total{{code="{code}"}} {count}'
        yield from _head("tallystick_links_total", "counter", "Links in alerts that were opened or used, by outcome.")
        for outcome, count in sorted(self._links.items()):
            yield f'tallystick_links_total{{outcome="{outcome}"}} {count}'
        name = "tallystick_http_request_duration_seconds"
        yield from _head(name, "histogram", "How long requests took.")
        so_far = 0
        for bound, count in zip((*BOUNDS, "+Inf"), self._buckets, strict=True):
            so_far += count
            yield f'{name}_bucket{{le="{bound}"}} {so_far}'
        yield f"{name}_sum {self._seconds}"
        yield f"{name}_count {so_far}"


def fleet_figures(status: Mapping[str, Any] | None, standby: int = 0, behind_seconds: float = 0.0) -> str:
    """A `GlobalStatus` as lines; without one, only that the fleet does not answer. ``standby``: 1 where this server is
    one, and then it is ``behind_seconds`` behind.
    """
    own = {
        "tallystick_up": ("1 where the fleet answers.", int(status is not None)),
        "tallystick_standby": ("1 where this server stands by, and another is the writer.", standby),
        "tallystick_standby_behind_seconds": ("How far a standby is behind the log.", round(behind_seconds, 3)),
    }
    lines = [line for name, (text, value) in own.items() for line in (*_head(name, "gauge", text), f"{name} {value}")]
    if status is not None:
        lines += _figures(status)
    return "".join(f"{line}\n" for line in lines)


def _figures(status: Mapping[str, Any]) -> Iterator[str]:
    for field, unit in _UNITS.items():
        name = f"tallystick_budget_{unit}"
        yield from _head(name, "gauge", f"The budget of the period in {unit}, by part.")
        for key, part in _PARTS.items():
            amount = status[key].get(field)
            if amount is not None:
                yield f'{name}{{part="{part}"}} {amount}'
    plain = {
        "tallystick_log_position": ("counter", "The newest position of the log.", status["position"]),
        "tallystick_agents": ("gauge", "Open accounts.", status["agent_count"]),
        "tallystick_pressure_ratio": ("gauge", "Pressure on the budget, 0 to 1.", status["pressure"]),
        "tallystick_paused": ("gauge", "1 where the fleet is paused.", int(status["paused"])),
        "tallystick_specialists_given_up": ("gauge", "Specialists that were given up.", len(status["given_up"])),
    }
    for name, (kind, text, value) in plain.items():
        yield from _head(name, kind, text)
        yield f"{name} {value}"
    yield from _bills(status)


def _bills(status: Mapping[str, Any]) -> Iterator[str]:
    """The newest bill of each provider."""
    bills = status.get("bills") or {}
    for name, field, text in (
        ("tallystick_bill_dollars", "billed_usd", "What the newest bill that was reconciled says, in dollars."),
        ("tallystick_bill_coverage_ratio", "coverage", "The part of that bill that is explained, 0 to 1."),
        ("tallystick_bill_reported_ratio", "reported", "The part that agents had reported by themselves, 0 to 1."),
    ):
        if bills:
            yield from _head(name, "gauge", text)
        for provider, bill in bills.items():
            shown = provider.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            yield f'{name}{{provider="{shown}"}} {bill[field]}'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
