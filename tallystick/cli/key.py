"""``tallystick key``: who may reach a served fleet, and as what."""

import datetime as dt
import hashlib
import os
import re
import secrets
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import config_option, console, json_option, json_text, store_option
from tallystick.cli.send import KEY_VARIABLE, Sending, reply_to, this_user
from tallystick.events import messages as c
from tallystick.events.catalog.access import Role
from tallystick.moments import read_moment
from tallystick.wording import NONE, one_line

KEY_PREFIX: Final = "tsk_"
"""So that a key is recognized where it should not be."""
KEY_BYTES: Final = 32
_PAGE: Final = 1_000
_LASTING: Final = re.compile(r"([1-9][0-9]{0,5})([hd])")
_UNITS: Final = {"h": "hours", "d": "days"}
_ROLES: Final = get_args(Role)


@click.group(short_help="Keys of the HTTP service.")
def key() -> None:
    """Create, list and revoke the keys with which programs and people reach a served fleet.

    A fleet that runs on this machine, as this user, is asked over its control socket. Where none runs, the command
    opens the store as its writer. $TALLYSTICK_OPERATOR_KEY is the operator's key, where the fleet has one.

    \b
    Example:
      tallystick key create --role agent --agent lead
    """


@key.command(short_help="Create a key, and show it once.")
@click.option("--role", type=click.Choice(_ROLES), required=True, help="What its holder may do.")
@click.option("--agent", metavar="ID", help="In whose name it acts; an agent's key acts for this one and those below.")
@click.option("--name", metavar="NAME", help="What the key is called; else the agent or role, and four digits.")
@click.option("--expires", metavar="WHEN", help="Until when it is valid: 12h, 90d, or a time.")
@click.option("--approve-up-to", metavar="USD", help="Up to which cost an operator may raise limits with it.")
@store_option
@config_option
@json_option
def create(
    role: Role,
    agent: str | None,
    name: str | None,
    expires: str | None,
    approve_up_to: str | None,
    store_url: str,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Draw a key of 256 random bits, and print it. It is shown this once: the fleet keeps its SHA-256 only.

    The first key closes the service: from then on every request needs one. A new fleet may begin with it.

    \b
    Examples:
      tallystick key create --role agent --agent lead --expires 90d
      tallystick key create --role operator --name ann --approve-up-to 50
    """
    if role == "agent" and agent is None:
        raise click.UsageError("--role agent needs --agent ID: whom it acts for")
    secret = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    command = c.CreateKey(
        key=name or f"{(agent or role)[: c.NAME_MAX - 5]}-{secrets.token_hex(2)}",
        role=role,
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        agent=agent,
        expires_at=None if expires is None else _end(expires),
        approve_up_to_usd=None if approve_up_to is None else _dollars(approve_up_to),
    )
    made = _answer(command, store_url, config_file)
    if as_json:
        click.echo(json_text({**made, "secret": secret}))
        return
    click.echo(f"the key {one_line(made['key'])} ({_described(made)}) is valid; it is shown this once:", err=True)
    click.echo(secret)


@key.command("list", short_help="The keys, and what each may do.")
@store_option
@json_option
def list_keys(store_url: str, as_json: bool) -> None:
    """List the keys by name. What they were created as is shown, and not the keys themselves.

    \b
    Example:
      tallystick key list
    """
    lines: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = _answer(c.ListKeys(limit=_PAGE, after=after), store_url)
        lines += page["keys"]
        after = page.get("next")
        if after is None:
            break
    if as_json:
        click.echo(json_text({"keys": lines}))
        return
    screen = console()
    if not lines:
        screen.print("No keys: a server on this machine is open to every program of it.")
        return
    table = Table()
    for column in ("key", "role", "agent", "state", "until", "approves"):
        table.add_column(column, overflow="fold")
    for line in lines:
        ceiling = line.get("approve_up_to_usd")
        named = (line["key"], line["role"], line.get("agent"), line["state"], _until(line))
        table.add_row(*(Text(one_line(cell or NONE)) for cell in named), NONE if ceiling is None else f"${ceiling}")
    screen.print(table)


@key.command(short_help="End a key at once.")
@click.argument("name")
@click.option("--reason", metavar="TEXT", help="Why.")
@store_option
@json_option
def revoke(name: str, reason: str | None, store_url: str, as_json: bool) -> None:
    """End the key NAME at once, and the sessions that were begun with it.

    \b
    Example:
      tallystick key revoke lead-1f3a --reason "it was in a screenshot"
    """
    ended = _answer(c.RevokeKey(key=name, reason=reason), store_url)
    click.echo(json_text(ended) if as_json else f"the key {one_line(ended['key'])} ({_described(ended)}) is revoked")


def _answer(command: c.Command, store_url: str, config_file: Path | None = None) -> dict[str, Any]:
    """What the fleet replies.

    Raises:
        ClickException: it refuses.
    """
    command.id = f"key-{secrets.token_hex(8)}"
    shown = os.environ.get(KEY_VARIABLE) or None
    reply = msgspec.json.decode(reply_to(Sending(command, this_user(), store_url, config_file, None, shown)))
    if "error" in reply:
        if reply["error"]["code"] == "unknown_key":
            name = one_line(getattr(command, "key", ""))
            raise click.ClickException(f"there is no key {name!r}: tallystick key list shows those that there are")
        raise click.ClickException(one_line(reply["error"]["detail"]))
    answer: dict[str, Any] = reply["ok"]
    return answer


def _end(text: str) -> dt.datetime:
    lasting = _LASTING.fullmatch(text)
    if lasting is not None:
        return dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(**{_UNITS[lasting[2]]: int(lasting[1])})
    found = read_moment(text)
    if found is None or found.time is None:
        allowed = "12h, 90d, or a time like 2026-03-04T12:00:00Z, 2026-03-04T12:00 or 2026-03-04"
        raise click.BadParameter(f"found {text!r:.100}, allowed is {allowed}", param_hint="'--expires'")
    return found.time


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        words = f"found {text!r:.100}, allowed are dollars like 50 or 12.50"
        raise click.BadParameter(words, param_hint="'--approve-up-to'") from None


def _described(line: dict[str, Any]) -> str:
    agent = f" for {one_line(line['agent'])}" if "agent" in line else ""
    until = "" if "expires_at" not in line else f", until {_until(line)}"
    most = "" if "approve_up_to_usd" not in line else f", approving up to ${line['approve_up_to_usd']}"
    return f"{line['role']}{agent}{until}{most}"


def _until(line: dict[str, Any]) -> str:
    end = line.get("revoked_at") or line.get("expires_at")
    return NONE if end is None else end[:16].replace("T", " ") + "Z"
