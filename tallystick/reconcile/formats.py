"""The formats of bills. What a file says is read as an import reads it; here it becomes lines of a bill."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tallystick.events.messages.provider_usage import counted
from tallystick.importing import anthropic, litellm, openai, openrouter
from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.notes import Misread, Notes
from tallystick.importing.rows import rows_of
from tallystick.importing.used import DOLLARS, Used
from tallystick.reconcile import focus
from tallystick.reconcile.billed import CACHED, DIRECTIONS, KINDS, BilledRow, BillError, Other, Parts, Rows, nanos_of

_NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_SHOWN_MAX: Final = 40
"""So many characters of a name that cannot be used are shown."""
_KINDS_OF_TOKENS: Final = ("cached input", "input", "output")


class Format(NamedTuple):
    """A format: whether the first row of a file is of it, and how its lines are read."""

    looks_so: Callable[[Fields], bool]
    rows: Callable[[Opened], Rows]


def read_bill(file: Path, name: str | None, notes: Notes) -> tuple[str, Rows]:
    """The format of a file, and its lines as they are read; ``name`` is that of the format, which is found otherwise.

    Raises:
        BillError: it is of none; and while lines are read, where something cannot be.
    """
    form = name or _found(file)
    return form, _checked(FORMATS[form].rows(Opened(file, notes)), notes)


def _found(file: Path) -> str:
    notes = Notes()
    first = next(rows_of(Opened(file, notes), ()), None)
    _check(notes)
    if first is None:
        raise BillError(f"{file}: found nothing, allowed is a bill in one of {', '.join(FORMATS)}")
    fields = Fields(first.values)
    for name, form in FORMATS.items():
        if form.looks_so(fields):
            return name
    shown = ", ".join(name[:_SHOWN_MAX] for name in sorted(map(str, first.values))[:8])
    raise BillError(f"{file}: found the fields {shown}, allowed are those of {', '.join(FORMATS)}; --format names one")


def _checked(rows: Rows, notes: Notes) -> Rows:
    """The lines, as long as all can be read: a bill counts as a whole, or not at all."""
    for row in rows:
        _check(notes)
        yield row
    _check(notes)


def _check(notes: Notes) -> None:
    if notes.unreadable:
        raise BillError("; ".join(notes.problems[:3]))


# --- one function per format -----------------------------------------------------------------------------------------


def _openai(file: Opened) -> Rows:
    for used in openai.read(file, _NEVER):
        yield _row("openai", used, CACHED)


def _anthropic(file: Opened) -> Rows:
    for used in anthropic.read(file, _NEVER):
        yield _row("anthropic", used, KINDS)


def _openrouter(file: Opened) -> Rows:
    for used in openrouter.read(file):
        yield _row("openrouter", used, CACHED)


def _litellm(file: Opened) -> Rows:
    for used in litellm.read(file):
        yield _row("litellm", used, KINDS if "provider_usage" in used.counts else DIRECTIONS)


def _focus(file: Opened) -> Iterator[BilledRow | Other]:
    for row in rows_of(file, focus.NEEDED):
        place = file.place(row.line)
        try:
            found = focus.row_of(Fields(row.values), place)
        except Misread as error:
            file.notes.cannot_read(place, error)
            continue
        if found is not None:
            yield found


def _row(provider: str, used: Used, detail: int) -> BilledRow:
    """A line of a bill, as an import would read it: a call, or where it has a span a sum."""
    if used.currency != DOLLARS:
        raise BillError(
            f"{used.place}: found {used.currency[:_SHOWN_MAX]}, allowed is USD: the fleet's books are in US dollars"
        )
    is_sum = used.until is not None
    model = used.model or _model_of(used.operation)
    return BilledRow(
        provider,
        used.since or used.at,
        used.until,
        model,
        used.labels.get("key"),
        None if is_sum else used.agent,
        None if is_sum else used.source,
        _parts(used) if used.tokens else None,
        used.requests,
        None if used.cost is None else nanos_of(used.cost, used.place),
        detail,
        None if model else used.operation or "usage",
    )


def _model_of(item: str | None) -> str | None:
    """The model of an item like ``gpt-4o-2024-08-06, cached input``; None where it is of no model's tokens."""
    model, _, kind = (item or "").rpartition(", ")
    return model if model and kind.lower() in _KINDS_OF_TOKENS else None


def _parts(used: Used) -> Parts:
    counts = dict(used.counts)
    usage = counts.pop("provider_usage", None)
    read = {} if usage is None else counted(usage)._asdict()
    sent, got, cached, written = (
        counts.get(name) or read.get(name) or 0
        for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
    )
    cached = min(cached, sent)
    written = min(written, sent - cached)
    return Parts(sent - cached - written, cached, written, got)


FORMATS: Final[dict[str, Format]] = {
    "anthropic": Format(lambda row: "starting_at" in _first(row), _anthropic),
    "openai": Format(lambda row: "start_time" in _first(row), _openai),
    "openrouter": Format(lambda row: all(name in row.values for name in openrouter.COLUMNS[:3]), _openrouter),
    "litellm": Format(lambda row: all(name in _first(row) for name in ("request_id", "startTime")), _litellm),
    "focus": Format(lambda row: all(name in row.values for name in focus.NEEDED), _focus),
}
"""In the order in which they are tried."""


def _first(row: Fields) -> set[str]:
    """The fields of a row, or of the first of a page of them."""
    data = row.items("data")
    return set(data[0]) if data and isinstance(data[0], dict) else set(row.values)
