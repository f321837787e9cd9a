"""``tallystick send``: one message to the fleet, in JSON or in a few words."""

import getpass
import json
import re
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import msgspec

from tallystick.cli.common import config_option, prices_option, reading, settings_for, store_option
from tallystick.config.amounts import NUMBER
from tallystick.events import messages as c
from tallystick.events.log.codec import read_message
from tallystick.events.log.store import open_store
from tallystick.events.log.store_place import file_of
from tallystick.events.messages.replies import Refusal
from tallystick.fleet import Fleet

_WORDS = (
    "pause REASON, resume, approve-limit [--cost DOLLARS] [--tokens TOKENS], override PRODUCT PRIORITY [REASON], "
    "reset-breaker REASON, release-reserve REASON, retry TASK REASON, correct-usage POSITION AMOUNTS REASON"
)
_WITH_REASON = {"pause": "PauseAll", "reset-breaker": "ResetBreaker", "release-reserve": "ReleaseReserve"}
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
)
"""The messages that a fleet may begin with."""
_NO_PRIORITY = "none"
"""Ends what ``override`` began."""


def _user() -> str:
    """The user who is logged in; "operator" where the system does not know."""
    try:
        return getpass.getuser()[: c.NAME_MAX]
    except (OSError, KeyError):
        return "operator"


@click.command(short_help="Send one message and print the reply.")
@click.argument("message", nargs=-1, required=True)
@store_option
@config_option
@prices_option
@click.option("--cost", metavar="DOLLARS", help="With approve-limit: what may be spent today.")
@click.option("--tokens", metavar="TOKENS", help="With approve-limit: how many tokens may be used today.")
@click.option("--limit", metavar="NAME", help="With approve-limit: a limit of limits:, which --max raises.")
@click.option("--value", metavar="VALUE", help="With --limit: only for this value of its scope.")
@click.option("--max", metavar="JSON", help="With --limit: its maximum; {} ends that.")
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
    by: str | None,
    id: str | None,
    **raised: str | None,
) -> None:
    """Send one MESSAGE and print the reply as JSON; the exit code is 1 where the reply is an error.

    MESSAGE is a JSON object with a "type", or one of the orders of operators in a few words:

    \b
      pause REASON                          stop everything
      resume                                go on
      approve-limit --cost 200              raise today's limit (also --tokens); or one of limits:, like
                                            --limit user-day --value ann --max '{"cost_usd": 20}'
      override PRODUCT PRIORITY [REASON]    the priority of all its tasks; none ends that
      reset-breaker REASON                  close the circuit breaker, whatever holds
      release-reserve REASON                open the reserve for critical agents
      retry TASK REASON                     a new life for a task that failed or was cancelled, and those it took along
      correct-usage POSITION tokens=N REASON  what a report or settlement should have said (also time_seconds=,
                                              cost_usd=, model=, input_tokens=, output_tokens= ...)

    The command opens the store as its writer; while another process writes it, that one is named and nothing is sent.

    A new fleet begins with the first budget, report, task, total or configuration, or with a question and --config; no
    other message creates one. It begins with the settings and prices that are found. One that has begun keeps what is
    in force, unless --config, --prices or their variables name a file.

    \b
    Examples:
      tallystick send '{"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 50000}}'
      tallystick send '{"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 450}}' --by a-1
      tallystick send pause "the provider is down"
      tallystick send override urgent-project critical "the launch is today"
    """
    for option, name in (("--by", by), ("--id", id)):
        if name is not None and not 1 <= len(name) <= c.NAME_MAX:
            raise click.BadParameter(f"allowed is a name of 1 to {c.NAME_MAX} characters", param_hint=f"'{option}'")
    limits = {f"--{name}": value for name, value in raised.items()}
    command = _command(message, limits, id or f"send-{secrets.token_hex(8)}")
    if id not in (None, command.id):
        raise click.UsageError(f"the message has the id {command.id}, and --id says {id}: leave one out")
    asks = by or _user()
    if not isinstance(command, _BEGIN) and not (command.query and config_file is not None):
        _check_there(command, store_url)
    store = open_store(store_url, writer=True)
    try:
        settings = settings_for(store, config_file, prices_file)
    except BaseException:
        store.close()
        raise
    with Fleet.open(store, settings.config, settings.prices, by=asks) as fleet:
        reply = fleet.ask(command, asks)
    click.echo(msgspec.json.encode(reply))
    if "error" in reply:
        ctx.exit(1)


def _check_there(command: c.Command, store_url: str) -> None:
    """What only operates on a fleet, or asks it something, does not create one: the path may be mistyped.

    Raises:
        ClickException: there is no fleet yet.
    """
    file = file_of(store_url)
    is_there = file is not None and file.exists()
    if is_there:
        with reading(store_url) as store:
            is_there = store.last() is not None
    if not is_there:
        name = type(command).__name__
        raise click.ClickException(
            f"there is no fleet at {store_url}, and {name} creates none: name another --store, or begin with"
            " AllocateBudget or another message that grants, reports, submits or configures"
        )


def _command(message: tuple[str, ...], limits: Mapping[str, str | None], new_id: str) -> c.Command:
    """The message in the words of the wire contract.

    Raises:
        UsageError: it is neither JSON nor one of the words, or the contract does not allow it.
    """
    first, rest = message[0], message[1:]
    if first != "approve-limit":
        for option, value in limits.items():
            if value is not None:
                raise click.UsageError(f"{option} belongs to approve-limit")
    if first.lstrip().startswith("{"):
        if rest:
            raise click.UsageError("the message ends with its last brace: put the whole of it in single quotes")
        return _checked(first, new_id)
    if first in _OTHERS:
        return _checked(_OTHERS[first](rest), new_id)
    if first in _WITH_REASON:
        if not rest:
            raise click.UsageError(f"{first} needs a reason, in words")
        return _checked({"type": _WITH_REASON[first], "reason": " ".join(rest)}, new_id)
    match first:
        case "resume":
            if rest:
                raise click.UsageError("resume takes no reason")
            return _checked({"type": "ResumeAll"}, new_id)
        case "approve-limit":
            return _checked(_approval(rest, limits), new_id)
    raise click.UsageError(f"{first!r} is no message: allowed are a JSON object, {_WORDS}")


def _approval(rest: tuple[str, ...], limits: Mapping[str, str | None]) -> dict[str, Any]:
    """`ApproveLimit`; which amounts are right is decided by the core."""
    if rest:
        raise click.UsageError(f"approve-limit takes its limits as options: {rest[0]!r} is none; like --cost 200")
    message: dict[str, Any] = {"type": "ApproveLimit"}
    if limits["--limit"] is not None:
        return message | _of_limit(limits)
    for option, field, kind in (("--cost", "max_cost_usd", Decimal), ("--tokens", "max_tokens_total", int)):
        text = limits[option]
        if text is None:
            continue
        try:
            if not NUMBER.fullmatch(text):
                raise ValueError  # noqa: TRY301 - Python would read underscores, and digits of other scripts
            message[field] = kind(text)
        except (ValueError, InvalidOperation):
            example = "dollars like 200 or 12.50" if kind is Decimal else "whole tokens like 5000000"
            raise click.UsageError(f"{option}: found {text!r}, allowed are {example}") from None
    if len(message) == 1:
        words = "--cost DOLLARS, --tokens TOKENS, or both; or --limit NAME with --max JSON"
        raise click.UsageError(f"approve-limit needs a limit: {words}")
    return message


def _of_limit(limits: Mapping[str, str | None]) -> dict[str, Any]:
    """The fields of `ApproveLimit` that name one limit."""
    example = """a JSON object like '{"tokens": 900000}'"""
    if limits["--max"] is None:
        raise click.UsageError(f"--limit needs --max, {example}: the new maximum; or '{{}}', which ends a raise")
    for option in ("--cost", "--tokens"):
        if limits[option] is not None:
            raise click.UsageError(f"{option} raises a limit of the day: with --limit, name it in --max, {example}")
    try:
        most = json.loads(limits["--max"], parse_float=Decimal)
    except ValueError:
        raise click.UsageError(f"--max: found {limits['--max']!r}, allowed is {example}") from None
    named = {"limit": limits["--limit"], "value": limits["--value"], "max": most}
    return {field: value for field, value in named.items() if value is not None}


def _override(rest: tuple[str, ...]) -> dict[str, Any]:
    """`OverridePriority`."""
    if len(rest) < 2:
        raise click.UsageError("override needs a product and a priority, like: override urgent-project critical")
    product, priority, reason = rest[0], rest[1], " ".join(rest[2:])
    if priority not in (*c.PRIORITIES, _NO_PRIORITY):
        allowed = ", ".join((*c.PRIORITIES, _NO_PRIORITY))
        raise click.UsageError(f"{priority!r} is no priority: allowed are {allowed}")
    message = {"type": "OverridePriority", "product": product}
    return message | {"priority": None if priority == _NO_PRIORITY else priority, "reason": reason or None}


def _checked(message: "str | dict[str, Any]", new_id: str) -> c.Command:
    read = read_message(message, lambda: new_id)
    if isinstance(read, Refusal):
        raise click.UsageError(f"{read.code}: {read.detail}")
    return read[0]


def _retry(rest: tuple[str, ...]) -> dict[str, Any]:
    """`RetryTask`, together with the tasks that were cancelled with it."""
    if len(rest) < 2:
        raise click.UsageError("retry needs a task and a reason, like: retry T-1 the provider is back")
    return {"type": "RetryTask", "task": rest[0], "reason": " ".join(rest[1:]), "revive_dependents": True}


def _correction(rest: tuple[str, ...]) -> dict[str, Any]:
    """`CorrectUsage`: a position, what counts (like ``tokens=200 cost_usd=0.5 model=haiku``) and a reason."""
    example = "like: correct-usage 1234 tokens=200 cost_usd=0.50 the agent counted twice"
    if len(rest) < 3 or not _POSITION.fullmatch(rest[0]):
        raise click.UsageError(f"correct-usage needs a position, what counts and a reason, {example}")
    said: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    words = list(rest[1:])
    while words and (named := _AMOUNT.fullmatch(words[0])):
        name, value = (part for part in named.groups() if part is not None)
        amount = value if name == "model" else int(value) if value.isdigit() and name != "cost_usd" else Decimal(value)
        (usage if name in ("tokens", "time_seconds", "cost_usd") else said)[name] = amount
        words.pop(0)
    if not (usage or said) or not words:
        raise click.UsageError(f"correct-usage needs what counts and a reason, {example}")
    said |= {"usage": usage} if usage else {}
    return {"type": "CorrectUsage", "position": int(rest[0]), **said, "reason": " ".join(words)}


_POSITION = re.compile("[0-9]{1,18}")
_AMOUNT = re.compile(
    r"(tokens|time_seconds|cost_usd|requests|(?:input|output|cached|cache_write|reasoning|audio_input|audio_output)_tokens)"
    r"=([0-9]+(?:\.[0-9]+)?)|(model)=(\S+)"
)
_OTHERS: Mapping[str, Callable[[tuple[str, ...]], dict[str, Any]]] = {
    "correct-usage": _correction,
    "override": _override,
    "retry": _retry,
}
"""The words that are followed by more than a reason."""
