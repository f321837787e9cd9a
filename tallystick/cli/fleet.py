"""``tallystick fleet``: the fleets of a database."""

import hashlib
import secrets
from pathlib import Path
from typing import Any, Final

import click

from tallystick.cli.common import config_option, json_option, json_text, prices_option, settings_for
from tallystick.cli.key import KEY_BYTES, KEY_PREFIX
from tallystick.cli.send import this_user
from tallystick.events import messages as c
from tallystick.fleet import Fleet

_MISSING: Final = "fleets in PostgreSQL need more packages: pip install 'tallystick[postgres]'"
FIRST_KEY: Final = "first"

database_option = click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar="TALLYSTICK_STORE",
    show_envvar=True,
    required=True,
    help="The database: postgresql://…",
)


@click.group(short_help="The fleets of a database.")
def fleet() -> None:
    """Create and list the fleets of a PostgreSQL database, as `tallystick cluster` hosts them.

    \b
    Example:
      tallystick fleet create team-a --store postgresql://localhost/fleets
    """


@fleet.command(short_help="Create a fleet, and show the key of its operator once.")
@click.argument("name")
@database_option
@config_option
@prices_option
@click.option("--without-key", is_flag=True, help="Make no key: for fronts on 127.0.0.1, which are open then.")
@json_option
def create(
    name: str,
    store_url: str,
    config_file: Path | None,
    prices_file: Path | None,
    without_key: bool,
    as_json: bool,
) -> None:
    """Create the fleet NAME with its configuration, and draw the first key of its operator. It is shown this once.

    A cluster on this database answers for it from then on, at /v1/fleets/NAME/. No message creates a fleet.

    \b
    Examples:
      tallystick fleet create team-a --store postgresql://localhost/fleets
      tallystick fleet create team-b --store postgresql://localhost/fleets --config team-b.yml
    """
    database = _database(store_url)
    from tallystick.cluster.fleets import NAME, NAMES_ALLOWED

    if not NAME.fullmatch(name):
        raise click.BadParameter(f"found {name[:100]!r}, allowed is {NAMES_ALLOWED}", param_hint="'NAME'")
    if database.has(name):
        raise click.ClickException(f"the fleet {name} is there already, in {database.named}")
    store = database.writer(name)
    try:
        settings = settings_for(store, config_file, prices_file)
    except BaseException:
        store.close()
        raise
    with Fleet.open(store, settings.config, settings.prices) as opened:
        secret = None if without_key else _first_key(opened)
    database.say_closed(name, store.epoch, opened.due_at)
    if as_json:
        click.echo(json_text({"fleet": name, "key": secret}))
        return
    click.echo(f"the fleet {name} is there" + ("" if secret is None else "; the key of its operator, shown this once:"))
    if secret is not None:
        click.echo(secret)


@fleet.command("list", short_help="The fleets of a database.")
@database_option
@json_option
def list_fleets(store_url: str, as_json: bool) -> None:
    """List the fleets that were created in a database, open or not.

    \b
    Example:
      tallystick fleet list --store postgresql://localhost/fleets
    """
    names = _database(store_url).names()
    if as_json:
        click.echo(json_text({"fleets": names}))
        return
    for name in names:
        click.echo(name)


def _first_key(opened: Fleet) -> str:
    """Draw the first operator's key of a fleet.

    Raises:
        ClickException: the fleet refuses it.
    """
    secret = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    message = c.CreateKey(key=FIRST_KEY, role="operator", sha256=sha256, id=f"key-{secrets.token_hex(8)}")
    reply = opened.ask(message, this_user())
    if "error" in reply:
        raise click.ClickException(reply["error"]["detail"])
    return secret


def _database(store_url: str) -> Any:
    try:
        from tallystick.cluster.fleets import Database
    except ImportError as error:
        raise click.ClickException(_MISSING) from error
    return Database(store_url)
