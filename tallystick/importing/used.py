"""One use as a file says it, and the message in which it is reported."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec

from tallystick.config.amounts import Usage
from tallystick.config.kinds import LABELS_MAX, NAME_MAX
from tallystick.config.spelling import repaired
from tallystick.events.messages import ReportUsage

DOLLARS = "USD"


class Used(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What was used at once: a call of a model, or the sum of an hour or day that a provider says.

    ``key`` is what tells it apart within an import, ``source`` under what it is recorded: of two lines with one key the
    one with more tokens counts. ``counts`` are the tokens as fields of `ReportUsage`; ``tokens`` is their sum. ``cost``
    is in ``currency``; None where the file says none. ``copied``: it stands in a conversation that repeats another one.
    ``since`` and ``until`` are the span of a sum.
    """

    key: str
    source: str
    agent: str
    at: dt.datetime
    tokens: int
    counts: dict[str, Any]
    model: str | None = None
    cost: Decimal | None = None
    currency: str = DOLLARS
    seconds: Decimal | None = None
    requests: int | None = None
    operation: str | None = None
    labels: dict[str, str] = {}
    copied: bool = False
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}"


def report_of(used: Used, id: str, agent: str | None, rates: dict[str, Decimal]) -> ReportUsage:
    """The message that reports a use under an id; ``agent`` in place of the one that the file names.

    An amount in another currency is reported in dollars, and the label ``rate`` says at how many dollars for one.
    """
    labels, cost = used.labels, used.cost
    if cost is not None and used.currency != DOLLARS:
        rate = rates[used.currency]
        cost, labels = cost * rate, {**labels, "currency": used.currency, "rate": f"{rate:f}"}
    usage = None
    if cost is not None or used.seconds is not None:
        usage = Usage(cost_usd=cost, time_seconds=used.seconds)
    return ReportUsage(
        id=id,
        agent=agent or used.agent,
        source_id=used.source,
        occurred_at=used.at,
        model=None if used.model is None else used.model[:NAME_MAX],
        usage=usage,
        requests=used.requests,
        operation=used.operation,
        labels=labels or None,
        **used.counts,
    )


def named(*parts: str | None) -> str:
    """An agent's name: the parts that there are, such as ``codex/web``."""
    return repaired("/".join(part.strip("/ ") for part in parts if part)[:NAME_MAX])


def labelled(**labels: str | None) -> dict[str, str]:
    """Labels, without those that are not known."""
    found = {name: repaired(value[:NAME_MAX]) for name, value in labels.items() if value}
    return dict(list(found.items())[:LABELS_MAX])


def last_folder(path: str | None) -> str | None:
    """The name of the folder that a path of any system leads to."""
    return None if path is None else path.replace("\\", "/").rstrip("/").rpartition("/")[2] or None
