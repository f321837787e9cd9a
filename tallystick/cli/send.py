"""``tallystick send``: one message to the fleet, in JSON or in a few words."""

import getpass
import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Final, NamedTuple

import click
import msgspec
from click.shell_completion import CompletionItem

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.control_client import ask
from tallystick.actors.runtime.control_connection import digest_of
from tallystick.actors.runtime.control_peer import own_peer
from tallystick.actors.runtime.control_place import places_of
from tallystick.actors.runtime.control_socket import is_live
from tallystick.actors.runtime.intake import Asker
from tallystick.cli.common import config_option, prices_option, reading, server_options, settings_for, store_option
from tallystick.cli.completion import agent_names, task_names
from tallystick.cli.hand_over import HAND_OVER, hand_over
from tallystick.cli.orders import ORDERS, command_of
from tallystick.events import messages as c
from tallystick.events.log.codec import encode_command
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import NoFleet, Store, WriterPresent, open_store
from tallystick.events.log.store_place import is_postgres, shown
from tallystick.fleet import Fleet

KEY_VARIABLE: Final = "TALLYSTICK_OPERATOR_KEY"
PATIENCE_SECONDS: Final = 3.0
"""How long a fleet that is just being opened or closed is waited for."""
LOOK_SECONDS: Final = 0.05
_OF_THIS_MACHINE: Final = {
    "store_url": "--store",
    "config_file": "--config",
    "prices_file": "--prices",
    "by": "--by",
}
HALTED: Final = b'{"error":{"code":"halted"'
"""How the reply of a fleet begins that has stopped."""
_ERROR = b'{"error"'
_BEGIN = (
    c.AllocateBudget,
    c.AllocateEqual,
    c.AllocateProportional,
    c.AllocateByPriority,
    c.AllocateFromPool,
    c.ReportUsage,
    c.SubmitTask,
    c.SetTotalBudget,
    c.LoadConfig,
    c.CreateKey,
)
"""The messages that a fleet may begin with."""


class NoFleetYet(click.ClickException):
    """There is no fleet in the store, and the message begins none."""


class Sending(NamedTuple):
    """One message on its way, and how a fleet is opened for it where none runs."""

    command: c.Command
    by: str
    store_url: str
    config_file: Path | None
    prices_file: Path | None
    key: str | None


def this_user() -> str:
    """The user who is logged in; "operator" where the system does not know."""
    try:
        return getpass.getuser()[: c.NAME_MAX]
    except (OSError, KeyError):
        return "operator"


def _words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The first words, and behind those that name an agent or a task the names that there are."""
    words = ctx.params.get("message") or ()
    if not words:
        return [CompletionItem(word) for word in sorted({*ORDERS, HAND_OVER}) if word.startswith(incomplete)]
    if len(words) == 1 and words[0] in ("stop", "resume"):
        return agent_names(ctx, param, incomplete)
    return task_names(ctx, param, incomplete) if list(words) == ["retry"] else []


@click.command(short_help="Send one message and print the reply.")
@click.argument("message", nargs=-1, required=True, shell_complete=_words)
@store_option
@config_option
@prices_option
@click.option("--cost", metavar="DOLLARS", help="With approve-limit: what may be spent today.")
@click.option("--tokens", metavar="TOKENS", help="With approve-limit: how many tokens may be used today.")
@click.option("--limit", metavar="NAME", help="With approve-limit: a limit of limits:, which --max raises.")
@click.option("--value", metavar="VALUE", help="With --limit: only for this value of its scope.")
@click.option("--max", metavar="JSON", help="With --limit: its maximum; {} ends that.")
@click.option("--reason", metavar="TEXT", help="With approve-limit: why.")
@server_options
@click.option("--by", metavar="NAME", help="Who asks; the user who is logged in, where it is left out.")
@click.option(
    "--id", "id", metavar="ID", help="The message's id: sent again, it gets the same answer and changes nothing."
)
@click.pass_context
def send(
    ctx: click.Context,
    /,
    message: tuple[str, ...],
    store_url: str,
    config_file: Path | None,
    prices_file: Path | None,
    url: str | None,
    key: str | None,
    by: str | None,
    id: str | None,
    **raised: str | None,
) -> None:
    """Send one MESSAGE and print the reply as JSON; the exit code is 1 where the reply is an error.

    MESSAGE is a JSON object with a "type", or one of the orders of operators in a few words:

    \b
      pause REASON                          stop everything
      resume                                go on
      stop AGENT REASON                     stop an agent and those below it; resume AGENT ends that
      approve-limit --cost 200              raise today's limit (also --tokens); or one of limits:, like
                                            --limit user-day --value ann --max '{"cost_usd": 20}'
      override PRODUCT PRIORITY [REASON]    the priority of all its tasks; none ends that
      reset-breaker REASON                  close the circuit breaker, whatever holds
      release-reserve REASON                open the reserve for critical agents
      retry TASK REASON                     a new life for a task that failed or was cancelled, and those it took along
      correct-usage POSITION tokens=N REASON  what a report or settlement should have said (also time_seconds=,
                                              cost_usd=, model=, input_tokens=, output_tokens= ...)
      hand-over                             the server that writes the fleet lets a standby take its place

    A fleet that runs on this machine, as this user, is asked over its control socket. Where none runs, the command
    opens the store as its writer. $TALLYSTICK_OPERATOR_KEY is the operator's key, where the fleet has one. With --url,
    it asks a server, which knows from the API key who asks.

    A new fleet begins with the first budget, report, task, total or configuration, or with a question and --config; no
    other message creates one. It begins with the settings and prices that are found. One that has begun keeps what is
    in force, unless --config, --prices or their variables name a file.

    \b
    Examples:
      tallystick send '{"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 50000}}'
      tallystick send '{"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 450}}' --by a-1
      tallystick send pause "the provider is down"
      tallystick send override urgent-project critical "the launch is today"
      tallystick send --url http://127.0.0.1:8321 pause "the provider is down"
    """
    if message == (HAND_OVER,):
        if url is not None:  # without it, the key is for the server that the database names
            check_place(ctx, url)
        _say(ctx, hand_over(store_url, url, key))
        return
    check_place(ctx, url)
    check_name("--by", by)
    check_name("--id", id)
    limits = {f"--{name}": value for name, value in raised.items()}
    command = command_of(message, limits, id or f"send-{secrets.token_hex(8)}")
    if id not in (None, command.id):
        raise click.UsageError(f"the message has the id {command.id}, and --id says {id}: leave one out")
    if url is None:
        operator_key = os.environ.get(KEY_VARIABLE) or None
        reply = reply_to(Sending(command, by or this_user(), store_url, config_file, prices_file, operator_key))
    else:
        from tallystick.cli.send_to_server import reply_of_server

        reply = reply_of_server(url, key, command)
    _say(ctx, reply)


def _say(ctx: click.Context, reply: bytes) -> None:
    click.echo(reply)
    if reply.startswith(_ERROR):
        ctx.exit(1)


def check_name(option: str, name: str | None) -> None:
    """What an option names is as long as a name may be.

    Raises:
        BadParameter: it is not.
    """
    if name is not None and not 1 <= len(name) <= c.NAME_MAX:
        raise click.BadParameter(f"allowed is a name of 1 to {c.NAME_MAX} characters", param_hint=f"'{option}'")


def check_place(ctx: click.Context, url: str | None) -> None:
    """With --url, nothing is given that only a fleet of this machine takes; and without it no key, which only a server
    is shown.

    Raises:
        UsageError: something is.
    """

    def is_given(name: str) -> bool:
        return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE

    if url is None and is_given("key"):
        raise click.UsageError("--key: found it without --url, allowed is both: only a server is shown a key")
    for name, option in _OF_THIS_MACHINE.items():
        if url is not None and is_given(name):
            raise click.UsageError(f"{option} and --url: found both, allowed is one; a server has its own")


def reply_to(sending: Sending) -> bytes:
    """The reply of the fleet that runs, or of one that is opened for this message.

    Raises:
        ClickException: another process writes the fleet, and cannot be reached.
        Unanswered: it was reached, and gave no answer.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        reply = over_socket(sending)
        if reply is not None and not reply.startswith(HALTED):
            return reply
        # Also one that has halted: it may be closed by now.
        try:
            return _by_opening(sending)
        except WriterPresent as error:
            if time.monotonic() > until:
                if reply is not None:
                    return reply
                raise click.ClickException(f"{error}; {where_else(sending.store_url)}") from None
        time.sleep(LOOK_SECONDS)


def over_socket(sending: Sending) -> bytes | None:
    """The reply of the fleet that runs on this machine, as this user; None where none does. One that has halted says
    so only where no other answers.

    Raises:
        ClickException: it cannot be asked so.
    """
    halted = None
    for place in places_of(sending.store_url):
        reply = _over(place, sending)
        if reply is not None and not reply.startswith(HALTED):
            return reply
        halted = reply or halted
    return halted


def where_else(store_url: str) -> str:
    """What can be done where the writer has no control socket that we find."""
    if is_postgres(store_url):
        from tallystick.events.log.postgres_writer import holder_of

        holder = holder_of(store_url)
        if holder is not None and not holder.is_here:
            return "it runs on another machine or in a container: send there, or to its server with --url"
    text = "it has no control socket that can be reached from here: send as its user, on its machine"
    return f"{text}, or stop that process"


def _over(place: Path, sending: Sending) -> bytes | None:
    """The reply of the fleet that listens at a place; None where none does."""
    command = sending.command
    if (sending.config_file or sending.prices_file) and is_live(place):
        raise click.UsageError(
            "--config and --prices are for a fleet that is opened, and this one runs: send LoadConfig, or change the"
            " file that it follows"
        )
    try:
        waits = float(getattr(command, "wait_seconds", None) or 0)
        return ask(place, encode_command(command), sending.by, sending.key, waits)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    except Unanswered as error:
        text = f"{error}; it may have been carried out: send it again with --id {command.id} to learn its outcome"
        raise click.ClickException(text) from None


def _by_opening(sending: Sending) -> bytes:
    """The reply of a fleet that is opened for this message.

    Raises:
        WriterPresent: another process writes the fleet.
    """
    with opened_for(sending) as fleet:
        asker = Asker(own_peer().encoded(), digest_of(sending.key))
        return msgspec.json.encode(fleet.ask(sending.command, sending.by, asker=asker))


def opened_for(sending: Sending) -> Fleet:
    """The fleet of the store, opened for a message.

    Raises:
        WriterPresent: another process writes the fleet.
        ClickException: there is no fleet, and the message begins none; or its settings need the operator's key.
    """
    command = sending.command
    if not isinstance(command, _BEGIN) and not (command.query and sending.config_file is not None):
        _check_there(command, sending.store_url)
    store = open_store(sending.store_url, writer=True)
    try:
        settings = settings_for(store, sending.config_file, sending.prices_file)
        if settings.config is not None or settings.prices is not None:
            _check_key(store, sending.key)
    except BaseException:
        store.close()
        raise
    return Fleet.open(store, settings.config, settings.prices, by=sending.by)


def _check_key(store: Store, key: str | None) -> None:
    """Where the fleet has an operator's key, settings need it.

    Raises:
        ClickException: it was not given.
    """
    ledger = open_ledger(store).ledger
    needed = ledger.rules.config.control.operator_key if ledger.configured else None
    if needed is not None and not hmac.compare_digest(needed, f"sha256:{digest_of(key)}"):
        raise click.ClickException(f"settings may loosen limits: that needs the operator's key, in ${KEY_VARIABLE}")


def _check_there(command: c.Command, store_url: str) -> None:
    """What only operates on a fleet, or asks it something, does not create one: the path may be mistyped.

    Raises:
        ClickException: there is no fleet yet.
    """
    try:
        with reading(store_url) as store:
            is_there = store.last() is not None
    except NoFleet:
        is_there = False
    if not is_there:
        name = type(command).__name__
        raise NoFleetYet(
            f"there is no fleet at {shown(store_url)}, and {name} creates none: name another --store, or begin with"
            " AllocateBudget or another message that grants, reports, submits or configures"
        )
