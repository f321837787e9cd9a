"""Sources in tests of the core: messages with what the manager would find of their sources in the log."""

import datetime as dt
from decimal import Decimal
from typing import Any

from tallystick.config.amounts import Usage
from tallystick.events import messages as c
from tests.support.core import TESTER, Core
from tests.support.corrections import given


class SourcedCore(Core):
    """A core whose messages are looked up in its log, as the manager looks them up in the store."""

    def when(self, command: c.Command, at: dt.datetime | None = None, by: str = TESTER, id: str | None = None) -> Any:
        return super().when(given(self, command), at, by, id)


def said(agent: str, source: str | None, tokens: int | None = None, cost: str | None = None, **rest: Any) -> Any:
    """`ReportUsage` of a source in short."""
    return c.ReportUsage(agent=agent, source_id=source, usage=_usage(tokens, cost, rest.pop("seconds", None)), **rest)


def settled(hold: str, source: str | None, tokens: int | None = None, cost: str | None = None, **rest: Any) -> Any:
    """`Settle` of a source in short."""
    return c.Settle(hold=hold, source_id=source, usage=_usage(tokens, cost, None), **rest)


def _usage(tokens: int | None, cost: str | None, seconds: int | None) -> Usage | None:
    if tokens is None and cost is None and seconds is None:
        return None
    return Usage(
        tokens=tokens,
        cost_usd=None if cost is None else Decimal(cost),
        time_seconds=None if seconds is None else Decimal(seconds),
    )
