"""A naive recount of limits from the events of a log: every use with its time, added up when it is asked for.

It knows nothing of counters or buckets. A record counts what its last correction says, when it was used; what a hold
had named at its grant counts since then, as far as its settlement used it.
"""

import datetime as dt
from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH

Amounts = dict[str, int]
Subject = dict[str, str | None]
_US = dt.timedelta(microseconds=1)


@dataclass
class Use:
    """Something that was used at a time; ``record`` is the position of what says so, None for a grant."""

    at: dt.datetime
    says: Subject
    amounts: Amounts
    record: int | None = None
    grant: "Use | None" = None
    """Of a settlement, what its hold had named: limits that counted that count this since then."""


@dataclass
class _Life:
    id: str
    parent: int | None
    own: Subject


@dataclass
class _Hold:
    life: int
    labels: dict[str, str]
    model: str | None
    is_request: bool
    requests: int
    input: int
    grant: Use


@dataclass
class Recount:
    """Of limits in the form of the configuration, without windows that open at the first use."""

    limits: list[dict[str, Any]]
    zone: str
    since: dt.datetime = EPOCH
    uses: list[Use] = field(default_factory=list)
    lives: dict[int, _Life] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    holds: dict[str, _Hold] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)
    """By record, how many requests it is about."""
    models: dict[int, str | None] = field(default_factory=dict)
    """By record, the model that its hold named, or else that of its run."""
    runs: dict[int, str] = field(default_factory=dict)
    """By life of a run's account, the model on which it runs."""

    # --- asking ------------------------------------------------------------------------------------------------------

    def used(self, now: dt.datetime) -> dict[tuple[str, str, str], int]:
        """By limit, value and measure, what is used in the windows at hand."""
        found: Counter[tuple[str, str, str]] = Counter()
        for use in self.uses:
            for limit, value in self._matching(use):
                at = use.grant.at if use.grant is not None and (limit, value) in self._matching(use.grant) else use.at
                if at >= self.since and self._is_within(limit["window"], at, now):
                    for measure in limit["max"]:
                        found[limit["name"], value, measure] += use.amounts.get(measure, 0)
        return {key: units for key, units in found.items() if units}

    def _matching(self, use: Use) -> list[tuple[dict[str, Any], str]]:
        found = []
        for limit in self.limits:
            per = limit.get("per", "fleet")
            if use.record is None and use.says["model"] is None and per == "model":
                continue  # it cannot say of a hold without a model where it counts
            if all(
                use.says.get(key) in ([values] if isinstance(values, str) else values)
                for key, values in limit.get("match", {}).items()
            ):
                found.append((limit, "fleet" if per == "fleet" else use.says.get(per) or "(none)"))
        return found

    def _is_within(self, window: Any, at: dt.datetime, now: dt.datetime) -> bool:
        if window == "total":
            return True
        if isinstance(window, str):
            return self._name(window, at) == self._name(window, now)
        length = int(window["seconds"] * 1_000_000)
        bucket = length // 60
        return (at - EPOCH) // _US // bucket >= ((now - EPOCH) // _US - length) // bucket

    def _name(self, window: str, at: dt.datetime) -> tuple[Any, ...]:
        local = at.astimezone(ZoneInfo(self.zone))
        if window == "hour":
            return (local.year, local.month, local.day, local.hour, local.utcoffset())
        if window == "week":
            return tuple(local.isocalendar()[:2])
        return (local.year, local.month, local.day) if window == "day" else (local.year, local.month)

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, event: e.Event) -> None:
        """The next event of the log."""
        match event:
            case e.ConfigLoaded():
                self.since = event.at
            case e.BudgetAllocated():
                own: Subject = {
                    "product": event.product,
                    "workflow": event.workflow,
                    **{f"label:{key}": value for key, value in (event.labels or {}).items()},
                }
                own = {key: value for key, value in own.items() if value is not None}
                own["agent_type"] = event.agent_type
                parent = None if event.parent is None else self.open[event.parent]
                self.lives[event.position] = _Life(event.agent, parent, own)
                self.open[event.agent] = event.position
            case e.BudgetReleased():
                del self.open[event.agent]
            case e.TaskStarted():
                self.runs[self.open[event.task]] = event.model
            case e.HoldPlaced():
                self._place(event)
            case e.HoldEnded():
                self.holds[event.hold].grant.amounts.clear()
            case e.HoldSettled():
                self._settle(event, self._of(self.holds[event.hold].life), self.holds[event.hold])
            case e.UsageReported(hold=str(hold)):
                self._settle(event, self._of_report(event), self.holds[hold])
            case e.UsageReported(history=False):
                is_request = event.model is not None or event.operation is not None
                requests = int(is_request) if event.requests is None else event.requests
                run = None if event.lease is not None or event.life is not None else self._run(event.agent)
                self.models[event.position] = run
                says = {**_labels(event.labels), **self._of_report(event)}
                self._use(event, says, event.model or run, requests)
            case e.UsageCorrected(record=record) if not record.history:
                self._correct(event)

    def _of(self, life: int | None) -> Subject:
        """What an account says of itself: its own, else what those above it do."""
        says: Subject = {} if life is None else {"account": self.lives[life].id, **self.lives[life].own}
        while life is not None and (life := self.lives[life].parent) is not None:
            says = {**{key: value for key, value in self.lives[life].own.items() if key != "agent_type"}, **says}
        return says

    def _run(self, agent: str) -> str | None:
        """The model of a run that goes on under an id."""
        return self.runs.get(self.open.get(agent, 0))

    def _of_report(self, event: e.UsageReported) -> Subject:
        """What is known of the account of a report, be it open or released."""
        if event.life is None and event.lease is None and event.agent in self.open:
            return self._of(self.open[event.agent])
        names: Subject = {"agent_type": event.agent_type, "product": event.product, "workflow": event.workflow}
        return {**self._of(event.life), "account": event.agent, **names}

    def _use(self, event: e.UsageReported | e.HoldSettled, says: Subject, model: str | None, requests: int) -> Use:
        self.asked[event.position] = requests
        use = Use(event.used_at, {**says, "model": model}, _amounts(event, requests), event.position)
        self.uses.append(use)
        return use

    def _place(self, event: e.HoldPlaced) -> None:
        is_request = event.model is not None or event.operation is not None
        requests = int(is_request) if event.requests is None else event.requests
        life, sent = self.open[event.agent], event.input_tokens or 0
        says = {**_labels(event.labels), **self._of(life), "model": event.model or self._run(event.agent)}
        grant = Use(event.at, says, {"input_tokens": sent, "requests": requests})
        self.uses.append(grant)
        labels = dict(event.labels or {})
        self.holds[event.hold] = _Hold(life, labels, event.model, is_request, requests, sent, grant)

    def _settle(self, event: e.HoldSettled | e.UsageReported, says: Subject, hold: _Hold) -> None:
        """What was granted is used as far as it was; a hold that was over is settled as if it stood."""
        hold.labels |= event.labels or {}
        if event.history:
            return
        model = event.model or hold.model
        requests = event.requests or 0
        if event.requests is None and not event.partial:
            names = hold.is_request or model is not None or event.operation is not None
            requests = hold.requests or int(names and not hold.is_request)
        stands = isinstance(event, e.HoldSettled)
        is_run = stands or (event.account is not None and event.account in self.open)
        self.models[event.position] = hold.model or (self._run(event.agent) if is_run else None)
        says = {**_labels(hold.labels), **says}
        use = self._use(event, says, event.model or self.models[event.position], requests)
        once = {
            "input_tokens": min(hold.input, use.amounts["input_tokens"]) if stands else 0,
            "requests": min(hold.requests, requests) if stands else 0,
        }
        hold.requests -= min(hold.requests, requests)
        if stands:
            hold.input -= once["input_tokens"]
            self.uses.append(Use(use.at, use.says, once, event.position, copy(hold.grant)))
            for measure, units in once.items():
                use.amounts[measure] -= units
                hold.grant.amounts[measure] -= units
            if not event.partial:
                hold.grant.amounts = {}

    def _correct(self, event: e.UsageCorrected) -> None:
        record = event.record.position
        asked = self.asked[record] if event.counts.requests is None else event.counts.requests
        self.asked[record], amounts = asked, _amounts(event.counts, asked)
        own = [use for use in self.uses if use.record == record]
        for use in sorted(own, key=lambda use: use.grant is None):
            use.says = {**use.says, "model": event.counts.model or self.models.get(record)}
            if use.grant is None:
                use.amounts = amounts
            else:
                use.amounts = {measure: min(units, amounts[measure]) for measure, units in use.amounts.items()}
                amounts = {measure: units - use.amounts.get(measure, 0) for measure, units in amounts.items()}


def _labels(labels: dict[str, str] | None) -> Subject:
    return {f"label:{key}": value for key, value in (labels or {}).items()}


def _amounts(said: e.UsageReported | e.HoldSettled | e.Said, requests: int) -> Amounts:
    """Without a split, tokens are wholly input and output; what a total has beyond its split is output."""
    sent, got = said.input_tokens, said.output_tokens
    if sent is None and got is None:
        sent = got = said.tokens
    else:
        sent = sent or 0
        got = max(got or 0, said.tokens - sent)
    return {"tokens": said.tokens, "input_tokens": sent, "output_tokens": got, "requests": requests}
