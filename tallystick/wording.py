"""How figures, times and names are written for people: one spelling for every screen, report and sentence.

Percentages are floored, dollars are rounded half-up to cents, and what is called exact is written to the last digit.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from tallystick.config.amounts import COST, NANOS_PER_DOLLAR, TIME, Triple, at_edge, cents, dollars, seconds
from tallystick.config.limits import MEASURES, AccountLimit, shown
from tallystick.events.messages.task_replies import shown_minutes

NONE: Final = "–"
"""Stands where nothing is known, or nothing is there."""
DIMENSION_NAMES: Final = {"tokens": "tokens", "time_seconds": "time", "cost_usd": "cost"}
"""What the dimensions are called in sentences and headings."""
_CENT: Final = NANOS_PER_DOLLAR // 100
_SIZES: Final = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
_MARKDOWN: Final = "\\`*_[]<>|#"

# --- counts and numbers ----------------------------------------------------------------------------------------------


def counted(count: int, what: str) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def number(value: float | None) -> str:
    """A number with thousands marked; a dash where there is none."""
    return NONE if value is None else f"{value:,}"


def to_two_places(value: float | None) -> str:
    """A ratio such as an index: ``0.85``."""
    return NONE if value is None else f"{value:.2f}"


def compact(count: int) -> str:
    """``1.2M``: three digits or so, floored."""
    for size, letter in _SIZES:
        if count >= size:
            whole, tenth = divmod(count * 10 // size, 10)
            return f"{whole}{letter}" if whole >= 100 else f"{whole}.{tenth}{letter}"
    return str(count)


def percent(ratio: float | None) -> str:
    """A ratio as a percentage, floored."""
    return NONE if ratio is None else f"{int(ratio * 100)} %"


def exact_percent(ratio: float) -> str:
    """A ratio as a percentage, exact to the six places that events carry."""
    return f"{ratio * 100:.4f}".rstrip("0").rstrip(".") + " %"


def and_more(total: int, shown: int, remark: str) -> list[str]:
    """The line below a list that shows ``shown`` of ``total`` entries; no line where it shows all of them."""
    return [f"and {total - shown:,} more{remark}"] if total > shown else []


# --- amounts ---------------------------------------------------------------------------------------------------------


def amounts(triple: Triple) -> str:
    """Exact amounts in a sentence: ``1,000 tokens, 3 s and $0.0125``; ``nothing`` where there are none."""
    parts = _parts(triple, lambda nanos: f"${dollars(nanos)}")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "nothing"


def used(tokens: int, time_ms: int, cost_nanos: int) -> str:
    """`amounts`, without the dimensions in which nothing was used."""
    return amounts((tokens or None, time_ms or None, cost_nanos or None))


def rounded_amounts(triple: Triple) -> str:
    """Amounts in a table: ``1,200 tokens, 3.5 s, $1.48``; a dash where there are none."""
    return ", ".join(_parts(triple, cents)) or NONE


def short_amounts(triple: Triple) -> str:
    """Amounts in a narrow place: ``1.2M tokens, $3.40``; dimensions without any are left out."""
    tokens, time_ms, cost_nanos = triple
    parts = [
        *([f"{compact(tokens)} tokens"] if tokens else []),
        *([f"{time_ms // 1000:,} s"] if time_ms else []),
        *([cents(cost_nanos) if cost_nanos >= _CENT // 2 else "<$0.01"] if cost_nanos else []),
    ]
    return ", ".join(parts) or "nothing"


def amount(units: int, dimension: int) -> str:
    """One amount in internal units, without its unit: tokens and seconds with thousands marked, dollars in cents."""
    return edge_amount(at_edge(units, dimension))


def short_amount(units: int, dimension: int) -> str:
    """One amount in internal units, in a narrow place."""
    if dimension == TIME:
        return f"{units // 1000:,} s"
    return cents(units) if dimension == COST else compact(units)


def edge_amount(value: float | str | None) -> str:
    """One amount as JSON has it: tokens and seconds are numbers, dollars a text."""
    return in_cents(value) if isinstance(value, str) else number(value)


def in_cents(value: float | str | None) -> str:
    """Dollars as JSON has them: ``$1.48``."""
    return NONE if value is None else cents(int(Decimal(str(value)) * NANOS_PER_DOLLAR))


def _parts(triple: Triple, money: Callable[[int], str]) -> list[str]:
    tokens, time_ms, cost_nanos = triple
    return [
        *([] if tokens is None else [counted(tokens, "token")]),
        *([] if time_ms is None else [f"{seconds(time_ms):,} s"]),
        *([] if cost_nanos is None else [money(cost_nanos)]),
    ]


# --- times and durations ---------------------------------------------------------------------------------------------


def shown_time(at: dt.datetime) -> str:
    """A time to the second, in UTC: ``2026-03-04 12:00:00Z``."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def in_minutes(elapsed_ms: int) -> str:
    """A duration in a sentence, to one place: ``1 minute``, ``0.5 minutes``; below half a minute ``12.3 seconds``."""
    if 0 < elapsed_ms < 30_000:
        return f"{round(elapsed_ms / 1_000, 1):g} seconds"
    minutes = shown_minutes(round(elapsed_ms / 6_000) * 6_000)
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def minutes_and_seconds(elapsed_seconds: float) -> str:
    """A duration in a narrow place: ``2:05``."""
    whole = int(elapsed_seconds)
    return f"{whole // 60}:{whole % 60:02}"


# --- text of others --------------------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """Text of others without line breaks or control characters, so that none of it can move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def markdown_text(text: str) -> str:
    """Text of others on one line and without meaning to Markdown."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in plain)


def text_of_limit(limit: AccountLimit) -> str:
    """A limit of an account in words: "at most 5.00 cost_usd (month)"."""
    units = zip(MEASURES, limit.max.units, strict=True)
    most = ", ".join(f"{shown(m, n)} {name}" for m, (name, n) in enumerate(units) if n is not None)
    listed = {key: (value,) if isinstance(value, str) else value for key, value in limit.match.items()}
    match = "".join(f", {key} {' or '.join(values)}" for key, values in listed.items())
    then = "" if limit.then == "stop" else f", {limit.then}"
    return f"at most {most} ({limit.window or 'total'}{match}{then})"
