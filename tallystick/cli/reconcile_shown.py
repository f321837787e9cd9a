"""What ``tallystick reconcile`` prints: sums by cause, what stands out, and what would be done."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from tallystick.cli.common import console
from tallystick.config.amounts import cents, dollars
from tallystick.config.kinds import NAME_MAX
from tallystick.reconcile.books import MATCHED, STATUSES, TIME_ZONE, Finding
from tallystick.reconcile.orders import Message
from tallystick.reconcile.running import Reconciliation, Short
from tallystick.wording import NONE, and_more, counted, one_line

SHOWN: Final = 20
"""Lines of a table, and messages."""
_STATUS_WORDS: Final = {
    "matched": "matched",
    "priced_differently": "priced differently",
    "billed_not_reported": "billed, not reported",
    "reported_not_billed": "reported, not billed",
}
_MILLION: Final = 10**6
_DIFFERENT: Final = f"status != '{MATCHED}' OR cause NOT IN ('', '{TIME_ZONE}')"
"""What the zone of the bill explains is said once, above."""


def show(found: Reconciliation) -> None:
    """Print what came of a bill."""
    screen = console()
    formats = ", ".join(dict.fromkeys(found.formats))
    zone = "" if found.zone is None else f", whose days begin in {found.zone}"
    screen.print(f"Bill of {one_line(found.provider)} from {found.first} to {found.last} ({formats}){zone}")
    screen.print(_sums(found))
    whose = "the books have" if found.recorded else "agents had reported"
    screen.print(f"{_part(found.explained, found.billed)} of {cents(found.billed)} is explained;"
                 f" {whose} {_part(found.reported, found.billed)}.")  # fmt: skip
    lines = list(islice(found.books.found(_DIFFERENT, "abs(billed - reported) DESC"), SHOWN))
    if lines:
        screen.print(_details(lines))
        total = sum(1 for _ in found.books.found(_DIFFERENT))
        for line in and_more(total, SHOWN, ": --json shows all"):
            screen.print(line)
    for short in found.short[:SHOWN]:
        screen.print(_short(short))
    for kind, cost in sorted(found.others.items())[:SHOWN]:
        screen.print(f"Not usage, and left as it is: {one_line(kind[:NAME_MAX])} {_signed(cost)}")
    for line in and_more(len(found.others), SHOWN, ": --json shows all"):
        screen.print(line)
    for why, count in sorted(found.left_out.items()):
        screen.print(f"Left out: {counted(count, 'line')} {one_line(why)}")


def show_orders(found: Reconciliation, orders: Iterable[Message], count: int, applies: bool) -> None:
    """Print what is to be done, or would be."""
    screen = console()
    if not count:
        screen.print("The books are equal to the bill, and it is on record: nothing is to be done.")
        return
    screen.print(f"{'To do' if applies else 'With --apply'}: {_summary(found)}.")
    for message in islice(orders, SHOWN):
        screen.print(f"  {_order(message)}", soft_wrap=True)
    for line in and_more(count, SHOWN, ": --json shows all"):
        screen.print(f"  {line}")


def as_json_of(found: Reconciliation, orders: Iterable[Message], applied: int | None) -> dict[str, Any]:
    """What came of a bill, for machines; ``applied`` is how many messages were sent, None where none was to be."""
    return {
        "provider": found.provider,
        "bill": found.bill,
        "formats": found.formats,
        "first_day": found.first,
        "last_day": found.last,
        "zone": found.zone,
        "billed_usd": dollars(found.billed),
        "coverage": _ratio(found.explained, found.billed),
        "reported": _ratio(found.reported, found.billed),
        "sums": [
            {
                "status": one.status,
                "cause": one.cause or None,
                "lines": one.lines,
                "billed_usd": dollars(one.billed),
                "reported_usd": dollars(one.reported),
            }
            for one in found.sums
        ],
        "short": [
            {
                "agent": short.agent,
                "days": short.days,
                "bills_before": short.bills_before,
                "missing_usd": dollars(short.missing),
                "again": short.again,
            }
            for short in found.short
        ],
        "not_usage": {kind: _plain(cost) for kind, cost in found.others.items()},
        "left_out": dict(found.left_out),
        "findings": [_finding(one) for one in found.books.found()],
        "to_do": list(orders),
        "applied": applied,
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in ("status", "cause", "day", "model", "key", "agent", "note", "lines")},
        "billed_usd": dollars(one.billed),
        "reported_usd": dollars(one.reported),
        "billed_tokens": one.billed_tokens,
        "reported_tokens": one.reported_tokens,
    }


def _sums(found: Reconciliation) -> Table:
    table = Table()
    table.add_column("what")
    table.add_column("cause")
    for name in ("lines", "billed", "reported", "difference"):
        table.add_column(name, justify="right")
    for one in sorted(found.sums, key=lambda one: (STATUSES.index(one.status), one.cause)):
        figures = (cents(one.billed), cents(one.reported), _signed(one.billed - one.reported))
        table.add_row(_STATUS_WORDS[one.status], one.cause.replace("_", " "), f"{one.lines:,}", *figures)
    return table


def _details(lines: list[Finding]) -> Table:
    table = Table(title="what differs, the most first", title_justify="left")
    for name in ("day", "model", "agent or key", "what", "cause"):
        table.add_column(name, overflow="fold")
    for name in ("billed", "reported"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in lines:
        cause = (one.cause or NONE).replace("_", " ")
        table.add_row(
            one.day,
            Text(one_line(one.model or NONE)),
            Text(one_line(one.agent or one.key or NONE)),
            _STATUS_WORDS[one.status],
            Text(one_line(f"{cause}: {one.note}" if one.note else cause)),
            f"${dollars(one.billed)}",
            f"${dollars(one.reported)}",
        )
    return table


def _short(short: Short) -> str:
    again = ", again and again" if short.again else ""
    before = f" and in {counted(short.bills_before, 'earlier bill')}" if short.bills_before else ""
    return (
        f"{one_line(short.agent)} reported ${dollars(short.missing)} less than was billed, on"
        f" {counted(short.days, 'day')}{before}{again}."
    )


def _summary(found: Reconciliation) -> str:
    """What is corrected and booked in all."""
    corrected, up, down = found.books.file.execute(
        "SELECT count(*), coalesce(sum(max(c.cost - r.cost, 0)), 0), coalesce(sum(max(r.cost - c.cost, 0)), 0)"
        " FROM changes c JOIN reported r USING (position) WHERE r.fixed IS NULL"
    ).fetchone()
    booked, cost = found.books.file.execute("SELECT count(*), coalesce(sum(cost), 0) FROM bookings").fetchone()
    fixed = found.books.one("SELECT count(*) FROM changes JOIN reported USING (position) WHERE fixed IS NOT NULL")
    parts = []
    if corrected:
        parts.append(f"{counted(corrected, 'correction')} ({cents(up)} more, {cents(down)} less)")
    if booked:
        parts.append(f"{counted(booked, 'booking')} ({cents(cost)})")
    text = ", ".join(parts) or "nothing to correct or to book"
    return text if not fixed else f"{text}; {counted(fixed, 'report')} cannot be corrected"


def _order(message: Message) -> str:
    """A message in words."""
    match message["type"]:
        case "CorrectUsage":
            tokens = f", {message['usage']['tokens']:,} tokens" if "tokens" in message["usage"] else ""
            model = f", {message['model']}" if "model" in message else ""
            text = f"correct position {message['position']} to ${message['usage']['cost_usd']}{tokens}{model}"
            return one_line(f"{text} ({message['reason'].partition('): ')[2]})")
        case "ReportUsage":
            usage = message["usage"]
            model = f" on {message['model']}" if "model" in message else ""
            text = f"book ${usage['cost_usd']}, {usage['tokens']:,} tokens{model} for {message['agent']}"
            return one_line(f"{text}, used at {message['occurred_at']}")
    return "record what came of this bill"


def _ratio(part: int, whole: int) -> float:
    return part * _MILLION // whole / _MILLION if whole else 1.0


def _part(part: int, whole: int) -> str:
    """A part as percent with two decimals, rounded down: 100 % is all of it."""
    hundredths = part * 10_000 // whole if whole else 10_000
    return f"{hundredths // 100}.{hundredths % 100:02} %"


def _plain(nanos: int) -> str:
    return f"-{dollars(-nanos)}" if nanos < 0 else dollars(nanos)


def _signed(nanos: int) -> str:
    return f"-{cents(-nanos)}" if nanos < 0 else cents(nanos)
