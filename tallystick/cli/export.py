"""``tallystick export``: what was used and what it cost, in the forms of other tools."""

from pathlib import Path

import click

from tallystick.cli.common import at_option, output, reading, reads_option
from tallystick.cli.cost_parts import days_options
from tallystick.cli.viewing import opened_views
from tallystick.events.log.restoring import open_ledger
from tallystick.moments import Moment
from tallystick.projections.reports.breakdown import Days
from tallystick.projections.reports.focus import as_csv, cells_of
from tallystick.reconcile.causes import Prices


@click.group()
def export() -> None:
    """Hand what was used, and what it cost, to other tools. The log itself: tallystick audit export.

    \b
    Example:
      tallystick export focus --out costs.csv
    """


@export.command(short_help="As FOCUS, for tools of FinOps.")
@reads_option
@days_options
@at_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of to stdout.")
def focus(store_url: str, since: str | None, until: str | None, at: Moment | None, out: Path | None) -> None:
    """Write what was used as FOCUS (the FinOps Open Cost and Usage Specification), in CSV: a row for each hour and each
    combination of agent, model, product, agent type and labels.

    The columns are those of FOCUS 1.0, as focus-validator accepts them, and those of 1.1 to 1.3 beside them. Costs are
    exact; their sum is that of tallystick cost over the same days. The same log gives the same file.

    \b
    Examples:
      tallystick export focus --out costs.csv
      tallystick export focus --since 2026-03-01 --until 2026-03-31 > march.csv
    """
    with reading(store_url) as store:
        prices = Prices(open_ledger(store).ledger.rules)
    with opened_views(store_url, at) as views, output(out) as stream:
        for part in as_csv(cells_of(views, Days(since, until)), prices.provider):
            stream.write(part)
