"""``tallystick dashboard``: the day on one page, as Markdown."""

import click
import msgspec
from rich.markdown import Markdown

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.viewing import moment_of, opened_views
from tallystick.cli.watching import watch_option
from tallystick.moments import Moment
from tallystick.reports.dashboard import dashboard_markdown, dashboard_of


@click.command(short_help="Show the day on one page.")
@reads_option
@at_option
@watch_option
@json_option
def dashboard(store_url: str, at: Moment | None, as_json: bool) -> None:
    """Show the newest day on record on one page: who runs and who waits, what was used of the daily limits, the models,
    and the products.

    It is Markdown where it goes into a file. A line with a warning sign has come to the alert percentage.

    \b
    Examples:
      tallystick dashboard
      tallystick dashboard > dashboard.md
      tallystick dashboard --at 2026-03-04T12:00:00Z --json
    """
    with opened_views(store_url, at) as views:
        shown = dashboard_of(views, moment_of(views, at))
    if as_json:
        click.echo(json_text(msgspec.to_builtins(shown)))
        return
    screen, text = console(), dashboard_markdown(shown)
    if screen.is_terminal:
        screen.print(Markdown(text))
    else:
        click.echo(text, nl=False)
