"""``tallystick send``: one message to the house, in JSON or in a few words."""

import getpass
import secrets
from pathlib import Path

import click
import msgspec

from tallystick.door import Fleet
from tallystick.cli.common import config_option, settings_for, store_option
from tallystick.events import commands as c
from tallystick.events.codec import read_message
from tallystick.events.replies import Refusal
from tallystick.events.store import open_store

_WORDS = "pause REASON, resume, release-reserve REASON"


def _user() -> str:
    """Whoever is logged in; an operator where the system does not know."""
    try:
        return getpass.getuser()[: c.NAME_MAX]
    except (OSError, KeyError):
        return "operator"


@click.command(short_help="Send one message and print the reply.")
@click.argument("message", nargs=-1, required=True)
@store_option
@config_option
@click.option("--by", metavar="NAME", help="Who asks; the user who is logged in, where it is left out.")
@click.option(
    "--id", "id", metavar="ID", help="The message's id: sent again, it gets the same answer and changes nothing."
)
@click.pass_context
def send(
    ctx: click.Context,
    message: tuple[str, ...],
    store_url: str,
    config_file: Path | None,
    by: str | None,
    id: str | None,
) -> None:
    """Send one MESSAGE and print the reply as JSON; the exit code is 1 where the reply is an error.

    MESSAGE is a JSON object with a "type", or one of: pause REASON, resume, release-reserve REASON. The command opens
    the store as its writer; while another process writes it, that one is named and nothing is sent.

    A new fleet begins with the settings that are found. One that has begun keeps what is in force, unless --config or
    $TALLYSTICK_CONFIG names a file.

    \b
    Examples:
      tallystick send '{"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 50000}}'
      tallystick send '{"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 450}}' --by a-1
      tallystick send pause "the provider is down"
    """
    for option, name in (("--by", by), ("--id", id)):
        if name is not None and not 1 <= len(name) <= c.NAME_MAX:
            raise click.BadParameter(f"allowed is a name of 1 to {c.NAME_MAX} characters", param_hint=f"'{option}'")
    command = _command(message, id or f"send-{secrets.token_hex(8)}")
    if id not in (None, command.id):
        raise click.UsageError(f"the message has the id {command.id}, and --id says {id}: leave one out")
    asks = by or _user()
    store = open_store(store_url, writer=True)
    try:
        settings = settings_for(store, config_file)
    except BaseException:
        store.close()
        raise
    with Fleet.open(store, settings.config, settings.prices, by=asks) as fleet:
        reply = fleet.ask(command, asks)
    click.echo(msgspec.json.encode(reply))
    if "error" in reply:
        ctx.exit(1)


def _command(message: tuple[str, ...], new_id: str) -> c.Command:
    """The message in the words of the wire contract.

    Raises:
        UsageError: it is neither JSON nor one of the words, or the contract does not allow it.
    """
    first, reason = message[0], " ".join(message[1:])
    if first.lstrip().startswith("{"):
        if reason:
            raise click.UsageError("the message ends with its last brace: put the whole of it in single quotes")
        return _checked(first, new_id)
    if first not in ("pause", "resume", "release-reserve"):
        raise click.UsageError(f"{first!r} is no message: allowed are a JSON object, {_WORDS}")
    if (first == "resume") == bool(reason):
        raise click.UsageError("resume takes no reason" if reason else f"{first} needs a reason, in words")
    match first:
        case "pause":
            return _checked({"type": "PauseAll", "reason": reason}, new_id)
        case "resume":
            return _checked({"type": "ResumeAll"}, new_id)
    return _checked({"type": "ReleaseReserve", "reason": reason}, new_id)


def _checked(message: "str | dict[str, str]", new_id: str) -> c.Command:
    read = read_message(message, lambda: new_id)
    if isinstance(read, Refusal):
        raise click.UsageError(f"{read.code}: {read.detail}")
    return read[0]
