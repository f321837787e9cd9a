"""Exports as messages: each call, and each figure of a metric, becomes one `ReportUsage` with a source of its own."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from tallystick.config.amounts import Usage
from tallystick.config.kinds import NAME_MAX
from tallystick.config.settings import Config
from tallystick.config.telemetry import Telemetry
from tallystick.events.catalog.event import EPOCH
from tallystick.events.messages import ReportUsage
from tallystick.sources_of_tools import source_named
from tallystick.telemetry import tools
from tallystick.telemetry.attributes import text
from tallystick.telemetry.genai import Use
from tallystick.telemetry.items import Attributes, Export, Group, Unusable
from tallystick.telemetry.metrics import Figure, family_of, figures_of
from tallystick.telemetry.series import SeriesOfFleet

_PROGRAM: Final = "service.name"
_METRICS_HINT: Final = (
    "metrics of tokens were left out, as spans and events are counted: name the program in telemetry.metrics_of to"
    " count its metrics in their place"
)


class Fleet(Protocol):
    """What a fleet says of exports; see `actors.runtime.access`."""

    @property
    def config(self) -> Config: ...
    def has_price(self, model: str) -> bool: ...
    def now(self) -> dt.datetime: ...


class Report(NamedTuple):
    """A message, and the series of which it is an increase."""

    message: ReportUsage
    series: str | None = None


class Read(NamedTuple):
    """What an export comes to. ``wrong``: why each part that cannot be reported cannot be; ``hint``: what to know."""

    reports: list[Report]
    wrong: list[str]
    hint: str = ""


class Reader:
    """Reads exports for one fleet. Its settings may change between two exports."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def calls(self, export: Export) -> Read:
        """The calls to models in spans and events."""
        settings, found = self._fleet.config.telemetry, Read([], [])
        now = self._fleet.now()
        for groups, use_of in ((export.traces, tools.use_of_span), (export.logs, tools.use_of_record)):
            for group in groups:
                if _program(group) not in settings.metrics_of:
                    self._calls_of(group, use_of, found, now)
        return found

    def _calls_of(
        self, group: Group[Any], use_of: Callable[[Any, Any], Use | None], found: Read, now: dt.datetime
    ) -> None:
        named = _Named(self._fleet.config.telemetry, group.resource)
        for item in group.items:
            try:
                use = use_of(group, item)
                if use is not None:
                    found.reports.append(Report(self._message(use, named, item.attributes, now)))
            except Unusable as why:
                found.wrong.append(str(why))

    def figures(self, export: Export, series: SeriesOfFleet) -> Read:
        """The tokens in metrics, of the programs whose metrics count.

        Raises:
            StoreError: the log cannot be read.
        """
        settings, now, left_out = self._fleet.config.telemetry, self._fleet.now(), False
        found = Read([], [])
        by_program: dict[str, list[Group[Any]]] = {}
        for group in export.metrics:
            by_program.setdefault(repr(sorted(group.resource.items(), key=str)), []).append(group)
        for groups in by_program.values():
            family = family_of(groups)
            if family is None:
                continue
            if _program(groups[0]) not in settings.metrics_of:
                left_out = True
                continue
            for group in groups:
                named = _Named(settings, group.resource)
                for figure in figures_of(family, group):
                    self._add_figure(figure, named, series, found, now)
        return found._replace(hint=_METRICS_HINT if left_out else "")

    def _add_figure(
        self, figure: "Figure | Unusable", named: "_Named", series: SeriesOfFleet, found: Read, now: dt.datetime
    ) -> None:
        if isinstance(figure, Unusable):
            found.wrong.append(str(figure))
            return
        source, tokens, requests, grows = source_named("otlp", figure.series), figure.value, figure.requests, None
        try:
            named.account(figure.attributes)  # before the series goes on
            if figure.total:
                more = series.increase(figure)
                if more is None:
                    return
                source, tokens, requests, grows = more.source, more.tokens, more.requests, figure.series
            use = Use(
                source,
                figure.at_ns,
                text(figure.attributes, "gen_ai.response.model", "gen_ai.request.model", "model"),
                None if figure.kind == "output" else tokens,
                tokens if figure.kind == "output" else None,
                tokens if figure.kind == "cached" else None,
                tokens if figure.kind == "written" else None,
                requests=requests,
            )
            found.reports.append(Report(self._message(use, named, figure.attributes, now), grows))
        except Unusable as why:
            found.wrong.append(str(why))

    def _message(self, use: Use, named: "_Named", attributes: Attributes, now: dt.datetime) -> ReportUsage:
        """The message. What a program says that a call cost is its estimate: it counts where the model has no price.

        Parts are within what they are a part of, whatever was written: what was used is a fact.
        """
        parts = (use.cached or 0) + (use.written or 0)
        model = use.model if use.model is None or len(use.model) <= NAME_MAX else use.model[:NAME_MAX]
        priced = model is not None and self._fleet.has_price(model)
        cost = None if priced else use.cost
        at = _moment(use.at_ns)
        return ReportUsage(
            agent=named.account(attributes),
            usage=None if cost is None else Usage(cost_usd=cost),
            model=model,
            input_tokens=max(use.input or 0, parts),
            output_tokens=max(use.output or 0, use.reasoned or 0),
            cached_tokens=use.cached or None,
            cache_write_tokens=use.written or None,
            reasoning_tokens=use.reasoned or None,
            operation=None if use.operation is None else use.operation[:NAME_MAX],
            requests=use.requests,
            labels=named.labels(attributes),
            source_id=use.source,
            occurred_at=at if at is not None and at < now else None,
        )


class _Named:
    """Names by the attributes of a program, and of each thing that it exports: its own go before the program's."""

    def __init__(self, settings: Telemetry, resource: Attributes) -> None:
        self._account, self._labels = settings.account, settings.labels
        names = {*settings.account, *(name for listed in settings.labels.values() for name in listed)}
        self._of_program = {name: found for name in names if (found := text(resource, name)) is not None}

    def account(self, attributes: Attributes) -> str:
        """Whose use it is; a name that is too long is its beginning, and a digest of it.

        Raises:
            Unusable: none of the attributes that name an account is there.
        """
        found = self._first(attributes, self._account)
        if found is None:
            raise Unusable(f"none of the attributes of telemetry.account is there: {', '.join(self._account)}")
        return found if len(found) <= NAME_MAX else source_named(found[:32], found)

    def labels(self, attributes: Attributes) -> dict[str, str] | None:
        """The labels that are allowed; a value that is too long for one is left out."""
        found = {}
        for label, names in self._labels.items():
            value = self._first(attributes, names)
            if value is not None and len(value) <= NAME_MAX:
                found[label] = value
        return found or None

    def _first(self, attributes: Attributes, names: Sequence[str]) -> str | None:
        """What the first name says that says something here or for the program."""
        for name in names:
            if name in attributes:
                found = text(attributes, name)
                if found is not None:
                    return found
            if name in self._of_program:
                return self._of_program[name]
        return None


def _program(group: Group[Any]) -> str | None:
    return text(group.resource, _PROGRAM)


def _moment(ns: int) -> dt.datetime | None:
    """A time of nanoseconds since 1970; None where it is not known."""
    return EPOCH + dt.timedelta(microseconds=ns // 1_000) if ns else None
