"""``tallystick cluster``: many fleets on the machines of a Ray cluster."""

import ipaddress
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import console, json_option, json_text
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.serve import HOST, PORT
from tallystick.cluster.places import SHARDS_MAX
from tallystick.wording import NONE, one_line

_MISSING: Final = "a cluster needs more packages: pip install 'tallystick[ray,server]'"
_MB: Final = 1_000_000


def running() -> Any:
    """The module that starts and ends clusters.

    Raises:
        ClickException: the packages of the extras are missing.
    """
    try:
        from tallystick.cluster import running as module
    except ImportError as error:
        raise click.ClickException(_MISSING) from error
    return module


address_option = click.option(
    "--address",
    metavar="HOST:PORT",
    envvar="RAY_ADDRESS",
    show_envvar=True,
    default="auto",
    show_default=True,
    help="The Ray cluster; auto is the one of this machine.",
)


@click.group(short_help="Many fleets on the machines of a Ray cluster.")
def cluster() -> None:
    """Host many fleets on the machines of a Ray cluster, with their logs in PostgreSQL.

    \b
    Examples:
      tallystick cluster up --store postgresql://localhost/fleets --shards 3
      tallystick fleet create team-a --store postgresql://localhost/fleets
      tallystick cluster status
    """


@cluster.command(short_help="Start shards and fronts, or change the number of shards.")
@address_option
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar="TALLYSTICK_STORE",
    show_envvar=True,
    required=True,
    help="The database of all fleets: postgresql://…, as every machine of the cluster reaches it.",
)
@click.option(
    "--shards",
    type=WholeNumber(1, SHARDS_MAX),
    required=True,
    help="How many processes the fleets are spread over.",
)
@click.option("--host", metavar="ADDRESS", default=HOST, show_default=True, help="Where each front listens.")
@click.option(
    "--port", type=WholeNumber(0, 65535), default=PORT, show_default=True, help="The port of each; 0: any free one."
)
@click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="Another name under which fronts may be called, such as that of a load balancer; repeatable.",
)
@json_option
def up(address: str, store_url: str, shards: int, host: str, port: int, names: tuple[str, ...], as_json: bool) -> None:
    """Start the shards, which host the fleets, and a front on every node, which takes HTTP at /v1/fleets/NAME/.

    Where no Ray runs on this machine and no --address is given, Ray is started, too. Run again with another number of
    --shards, it moves as few fleets as possible; nothing that was acknowledged is lost.

    Fronts on 127.0.0.1 are for programs of their own machine. On other addresses every request needs a key of its
    fleet.

    \b
    Example:
      tallystick cluster up --store postgresql://localhost/fleets --shards 3
    """
    module = running()
    from tallystick.cluster.actors import Settings
    from tallystick.cluster.fleets import Database

    Database(store_url).names()
    settings = Settings(store_url, shards, _host(host), port, tuple(name.lower() for name in names))
    with module.connected_or_started(address) as head:
        _show(module.up(settings, head), as_json)


@cluster.command(short_help="Where shards and fronts are.")
@address_option
@json_option
def status(address: str, as_json: bool) -> None:
    """Show where each shard and front runs, and how many fleets each shard has open.

    \b
    Example:
      tallystick cluster status
    """
    module = running()
    with module.connected(address):
        found = module.places()
    if not found:
        raise click.ClickException("no shards and fronts are there: tallystick cluster up starts them")
    _show(found, as_json)
    if any(place.problem is not None for place in found):
        raise click.exceptions.Exit(1)


@cluster.command(short_help="Finish what was taken, and end shards and fronts.")
@address_option
def down(address: str) -> None:
    """Finish what was taken, close all fleets, and end shards and fronts. Ray goes on, unless cluster up started it.

    \b
    Example:
      tallystick cluster down
    """
    module = running()
    with module.connected(address):
        settings = module.down()
    if settings is None:
        raise click.ClickException("no shards and fronts are there")
    ended = settings.head is not None and module.stop_ray(settings.head)
    click.echo("shards, fronts and Ray have ended" if ended else "shards and fronts have ended; Ray goes on")


def _host(host: str) -> str:
    if host.lower() == "localhost":
        return HOST
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        text = f"found {host[:100]!r}, allowed is an address, such as 127.0.0.1 or 0.0.0.0"
        raise click.BadParameter(text, param_hint="'--host'") from None


def _show(places: list[Any], as_json: bool) -> None:
    if as_json:
        fields = ("name", "node", "pid", "memory_bytes", "address", "problem", "fleets")
        click.echo(json_text({"actors": [{field: getattr(place, field) for field in fields} for place in places]}))
        return
    table = Table()
    for column in ("name", "node", "process", "memory", "open fleets", "state"):
        table.add_column(column, overflow="fold")
    for place in places:
        is_shard = place.name.startswith("shard-")
        table.add_row(
            Text(place.name if is_shard else "front"),
            Text(place.node[:8] or NONE),
            str(place.pid or NONE),
            f"{place.memory_bytes // _MB} MB",
            str(len(place.fleets)) if is_shard else NONE,
            Text(one_line(place.problem or place.address or "runs")),
        )
    console().print(table)
