"""Metrics of tokens as figures: of each series of an export, how many tokens of which kind it says, since when.

Several metrics of one program say the same in different ways; the first of `_FAMILIES` that it exports is taken.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from tallystick.telemetry.attributes import text, tokens
from tallystick.telemetry.items import Attributes, Group, Point, Unusable

Kind = Literal["input", "output", "cached", "written"]
_COUNTERS: Final = "gen_ai.client.inference.usage."
_BY_NAME: Final[Mapping[str, Kind]] = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read.input_tokens": "cached",
    "cache_write.input_tokens": "written",
}
_CLAUDE: Final[Mapping[str, Kind]] = {
    "input": "input",
    "output": "output",
    "cacheRead": "cached",
    "cacheCreation": "written",
}
_GEMINI: Final[Mapping[str, Kind]] = {
    "input": "input",
    "output": "output",
    "thought": "output",
    "cache": "cached",
    "tool": "input",
}
_HISTOGRAM: Final[Mapping[str, Kind]] = {"input": "input", "output": "output", "completion": "output"}
SEVERAL: Final = 2
"""A counter does not say of how many calls its tokens are: they are priced as those of several, at the base tier."""


class Figure(NamedTuple):
    """What a series says: ``value`` tokens of a kind in ``requests`` calls, from ``start_ns`` on (``total``), or only
    in this export.

    ``series`` is a digest of all that tells it apart, its start included: after a restart, a program counts anew.
    """

    series: str
    total: bool
    at_ns: int
    kind: Kind
    value: int
    requests: int
    attributes: Attributes


class _Family(NamedTuple):
    """A metric, or several: which points are of it, and of which kind. ``within``: its input has the cached parts in
    it.
    """

    has: Callable[[Point], bool]
    kind_of: Callable[[Point], Kind | None]
    type_key: str | None
    within: bool


def _by_type(metric: str, key: str, kinds: Mapping[str, Kind], *, within: bool) -> _Family:
    def kind_of(point: Point) -> Kind:
        found = text(point.attributes, key) or ""
        if found not in kinds:
            raise Unusable(f"{metric}: {key}: found {found[:40]!r}, allowed is one of {', '.join(kinds)}")
        return kinds[found]

    return _Family(lambda point: point.metric == metric, kind_of, key, within)


_FAMILIES: Final = (
    _by_type("claude_code.token.usage", "type", _CLAUDE, within=False),
    _by_type("gemini_cli.token.usage", "type", _GEMINI, within=True),
    _Family(
        lambda point: point.metric.startswith(_COUNTERS),
        # Reasoning is a part of the output, at its price.
        lambda point: _BY_NAME.get(point.metric.removeprefix(_COUNTERS)),
        type_key=None,
        within=True,
    ),
    _by_type("gen_ai.client.token.usage", "gen_ai.token.type", _HISTOGRAM, within=True),
)


def family_of(groups: list[Group[Point]]) -> _Family | None:
    """The metric that is counted of what a program exported together; None where it exported none of tokens."""
    for family in _FAMILIES:
        if any(family.has(point) for group in groups for point in group.items):
            return family
    return None


def figures_of(family: _Family, group: Group[Point]) -> Iterator["Figure | Unusable"]:
    """What each point of a group says, or why it cannot be reported."""
    parts: dict[bytes, int] = {}
    points = [point for point in group.items if family.has(point)]
    found: list[tuple[Point, Kind, int]] = []
    for point in points:
        try:
            kind = family.kind_of(point)
            value = tokens(point.value, point.metric)
        except Unusable as why:
            yield why
            continue
        if kind is not None and not (point.at_ns and (point.start_ns or not point.total)):
            yield Unusable(f"{point.metric}: found no time: a figure needs its own, and a total that of its start")
            continue
        if kind is None or not value:
            continue
        found.append((point, kind, value))
        if family.within and kind in ("cached", "written"):
            shared = _shared(family, point)
            parts[shared] = parts.get(shared, 0) + value
    for point, kind, value in found:
        if family.within and kind == "input" and text(point.attributes, family.type_key or "") in (None, "input"):
            rest = max(0, value - parts.get(_shared(family, point), 0))
            yield _figure(group, point, kind, rest)
        else:
            yield _figure(group, point, kind, value)


def _shared(family: _Family, point: Point) -> bytes:
    """What the points of one call have in common."""
    same = {name: value for name, value in point.attributes.items() if name != family.type_key}
    return msgspec.json.encode((point.total, sorted(same.items())))


def _figure(group: Group[Point], point: Point, kind: Kind, value: int) -> Figure:
    since = (point.start_ns,) if point.total else (point.start_ns, point.at_ns)
    all_of_it = (sorted(group.resource.items()), group.scope, point.metric, sorted(point.attributes.items()), since)
    series = hashlib.sha256(msgspec.json.encode(all_of_it)).hexdigest()[:32]
    requests = 0 if kind == "output" else SEVERAL if point.calls is None else point.calls
    return Figure(series, point.total, point.at_ns, kind, value, requests, point.attributes)
