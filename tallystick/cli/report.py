"""``tallystick report``: what became of a workflow or of the whole fleet, for a person who was not there."""

import click
import msgspec
from rich.markdown import Markdown

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.viewing import opened_views
from tallystick.cli.watching import watch_option
from tallystick.moments import Moment
from tallystick.projections.reports.usage_report import report_of
from tallystick.reports.markdown import markdown
from tallystick.reports.together import expected_of


@click.command(short_help="Report on a workflow or the whole fleet.")
@reads_option
@click.option("--workflow", metavar="NAME", help="Only the agents of this workflow, and those below them.")
@at_option
@watch_option
@json_option
def report(store_url: str, workflow: str | None, at: Moment | None, as_json: bool) -> None:
    """Report what agents were given and used, what happened to them, why some used more, and what to do better.

    It is Markdown where it goes into a file. The answer to the message GenerateReport is the same report.

    \b
    Examples:
      tallystick report
      tallystick report --workflow checkout > checkout.md
      tallystick report --at 2026-03-04T12:00:00Z --json
    """
    with opened_views(store_url, at) as views:
        found = report_of(views, workflow, expected_of)
    if workflow is not None and not found.agents:
        raise click.ClickException(
            f"no agent ever belonged to a workflow {workflow!r}: `tallystick report` has all agents"
        )
    if as_json:
        click.echo(json_text(msgspec.to_builtins(found)))
        return
    screen, text = console(), markdown(found)
    if screen.is_terminal:
        screen.print(Markdown(text))
    else:
        click.echo(text, nl=False)
