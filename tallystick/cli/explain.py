"""``tallystick audit explain``: one event with all that surrounds it, or the whole story of an agent or a task."""

import click

from tallystick.cli.common import json_option, json_text, progress_bar, reading, reads_option
from tallystick.cli.completion import all_names
from tallystick.cli.selecting import between, refused_option, since_option, until_option
from tallystick.explain.one_event import NoSuchPosition, explain_position, paragraphs
from tallystick.explain.selection import Selection
from tallystick.explain.story import EVERYTHING, story
from tallystick.moments import Moment
from tallystick.wording import one_line


@click.command(short_help="Say why it was decided so.")
@click.argument("what", metavar="AGENT|TASK|POSITION", shell_complete=all_names)
@since_option
@until_option
@refused_option
@reads_option
@json_option
def explain(
    what: str, since: Moment | None, until: Moment | None, refused: bool, store_url: str, as_json: bool
) -> None:
    """Explain a POSITION: its event, who asked for it, the rule with its numbers, and what led to it; or tell the whole
    story of an AGENT or a TASK, or the part of it between two moments, or its refusals alone.

    The log is proved from its first record on the way. An agent or task whose id is a number is written agent:42.

    \b
    Examples:
      tallystick audit explain 17
      tallystick audit explain a-1
      tallystick audit explain T-204 --since 2026-03-04 --refused
    """
    selection = between(since, until)._replace(refused=refused)
    progress = progress_bar("replaying")
    with reading(store_url) as store:
        if what.isascii() and what.isdigit():
            if selection != EVERYTHING:
                raise click.UsageError("--since, --until and --refused go with an agent or a task, not with a position")
            try:
                explained = explain_position(store, int(what), progress)
            except NoSuchPosition as error:
                raise click.ClickException(str(error)) from None
            click.echo(json_text(explained) if as_json else "\n".join(paragraphs(explained)))
            return
        name = what.removeprefix("agent:")
        entries = list(story(store, name, progress, selection))
        known = bool(entries) or any(Selection(task=name).among(store.read()))
    if not known:
        raise click.ClickException(f"no event names {name!r}: see tallystick status and tallystick tasks")
    if as_json:
        click.echo(json_text({"agent": name, "story": [entry._asdict() for entry in entries]}))
    else:
        click.echo("\n".join(entry.line() for entry in entries) or f"Nothing of {one_line(name)} fits.")
