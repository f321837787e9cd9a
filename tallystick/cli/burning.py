"""A burn rate and the time to empty, for people: the same words on every screen."""

from rich.table import Table

from tallystick.projections.reports.burn import Burn
from tallystick.wording import DIMENSION_NAMES, NONE, duration, in_cents

_WHAT = {"total": "total budget", "day": "limit of the day", "budget": "budget"}


def rate(burn: Burn) -> str:
    """``12,000 tokens/h, $1.20/h``; a dash where nothing was used."""
    parts = []
    if burn.tokens_per_hour:
        parts.append(f"{burn.tokens_per_hour:,} tokens/h")
    if burn.cost_usd_per_hour != "0.00":
        parts.append(f"{in_cents(burn.cost_usd_per_hour)}/h")
    return ", ".join(parts) or NONE


def empty_in(burn: Burn) -> str:
    """``3 h 20 min``; a dash where nothing will be empty before it is renewed."""
    return NONE if burn.empty_in_seconds is None else duration(burn.empty_in_seconds)


def add_burn(table: Table, burn: Burn) -> None:
    """The rows of a table of names and values; none where nothing was used lately."""
    used = rate(burn)
    if used == NONE:
        return
    table.add_row("burn rate", f"{used}, over the last {duration(burn.window_seconds)}")
    if burn.empty_first is not None and burn.dimension is not None:
        what = f"{_WHAT[burn.empty_first]}, {DIMENSION_NAMES[burn.dimension]}"
        table.add_row("empty in", f"{empty_in(burn)} ({what}), at this rate")
