"""``tallystick audit explain``: one event with all that surrounds it, or the whole story of an agent or a task."""

import click

from tallystick.cli.common import json_option, json_text, progress_bar, reading, store_option
from tallystick.explain.one_event import NoSuchPosition, explain_position, paragraphs
from tallystick.explain.story import story


@click.command(short_help="Say why it was decided so.")
@click.argument("what", metavar="AGENT|TASK|POSITION")
@store_option
@json_option
def explain(what: str, store_url: str, as_json: bool) -> None:
    """Explain a POSITION: its event, who asked for it, the rule with its numbers, and what led to it; or tell the whole
    story of an AGENT or a TASK.

    The log is proved from its first record on the way. An agent or task whose id is a number is written agent:42.

    \b
    Examples:
      tallystick audit explain 17
      tallystick audit explain a-1
      tallystick audit explain T-204
    """
    progress = progress_bar("replaying")
    with reading(store_url) as store:
        if what.isascii() and what.isdigit():
            try:
                explained = explain_position(store, int(what), progress)
            except NoSuchPosition as error:
                raise click.ClickException(str(error)) from None
            click.echo(json_text(explained) if as_json else "\n".join(paragraphs(explained)))
            return
        name = what.removeprefix("agent:")
        entries = list(story(store, name, progress))
    if not entries:
        raise click.ClickException(f"no event names {name!r}: tallystick audit replay lists the agents")
    if as_json:
        click.echo(json_text({"agent": name, "story": [entry._asdict() for entry in entries]}))
    else:
        click.echo("\n".join(entry.line() for entry in entries))
