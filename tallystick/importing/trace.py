"""A trace of usage: CSV with the columns of `tallystick demo --trace`, one row per step of a run."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Final

from tallystick.demo.trace import COLUMNS
from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.notes import Misread
from tallystick.importing.rows import rows_of
from tallystick.importing.used import Used, labelled, named
from tallystick.sources_of_tools import digest_of, source_named

_LEAST: Final = dt.datetime(1980, 1, 1, tzinfo=dt.UTC)
"""Before it, seconds are not since 1970, but since the trace began."""
_APART: Final = ("run_id", "step", "timestamp_s", "model", "input_tokens", "output_tokens", "cached_tokens", "cost_usd")


def read(file: Opened, begins: dt.datetime | None, nth: Callable[[str], int]) -> Iterator[Used]:
    """The steps of a file. ``begins``: when, where its times count from its beginning. ``nth`` says how often something
    was asked for that it is given: rows that say the same are several steps.
    """
    for row in rows_of(file, COLUMNS):
        fields = Fields(row.values)
        try:
            used = _used(fields, begins)
        except Misread as error:
            file.notes.cannot_read(file.place(row.line), error)
            continue
        if used is None:
            file.notes.drop("of no use")
            continue
        again = nth(f"{file.name}\n{used.source}")
        if again > 1:
            used.key = used.source = source_named(used.source, again)
        used.file, used.line = file.name, row.line
        yield used


def _used(fields: Fields, begins: dt.datetime | None) -> Used | None:
    at = _at(fields, begins)
    sent, got = fields.count("input_tokens") or 0, fields.count("output_tokens") or 0
    cached, cost = fields.count("cached_tokens") or 0, fields.money("cost_usd")
    if cached > sent:
        raise fields.misread("cached_tokens", f"at most input_tokens ({sent}), of which they are a part")
    if not sent + got and not cost:
        return None
    source = source_named("trace", digest_of(at.isoformat(), *(fields.text(name) for name in _APART)))
    return Used(
        key=source,
        source=source,
        agent=named(fields.text("agent") or "trace"),
        at=at,
        model=fields.text("model"),
        tokens=sent + got,
        counts={"input_tokens": sent, "output_tokens": got, "cached_tokens": cached},
        cost=cost,
        seconds=fields.money("duration_s"),
        labels=labelled(run=fields.text("run_id"), product=fields.text("product_or_task")),
    )


def _at(fields: Fields, begins: dt.datetime | None) -> dt.datetime:
    seconds = fields.money("timestamp_s")
    if seconds is None:
        raise fields.misread("timestamp_s", "seconds since 1970, or with --begins since then")
    if begins is not None:
        try:
            return begins + dt.timedelta(microseconds=int(seconds * 1_000_000))
        except OverflowError:
            raise fields.misread("timestamp_s", "seconds since the trace began") from None
    at = fields.moment("timestamp_s")
    if at is None or at < _LEAST:
        raise fields.misread("timestamp_s", "seconds since 1970; where they count from its beginning, name --begins")
    return at
