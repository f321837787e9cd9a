"""``tallystick serve``: a fleet that programs elsewhere reach over HTTP."""

import ipaddress
from pathlib import Path
from typing import Any, Final

import click
import structlog

from tallystick.cli.common import config_option, prices_option, settings_for, store_option
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet

_MISSING = "the server needs more packages: pip install 'tallystick[server]'"
HOST: Final = "127.0.0.1"
PORT: Final = 8321
log = structlog.get_logger("tallystick.serve")


@click.command(short_help="Serve a fleet over HTTP.")
@store_option
@config_option
@prices_option
@click.option("--host", metavar="ADDRESS", default=HOST, show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port; 0 takes one that is free.",
)
def serve(store_url: str, config_file: Path | None, prices_file: Path | None, host: str, port: int) -> None:
    """Open a fleet and take messages over HTTP until SIGTERM or Ctrl-C; what was accepted is finished first.

    Every message has an endpoint, POST /v1/report-usage and so on; POST /v1/messages takes any, also up to 1,000 in an
    array. A file named with --config is followed: what is changed in it comes into force.

    There are no keys yet: every program that reaches the address may do everything, so only addresses of this machine
    itself are allowed.

    \b
    Examples:
      tallystick serve
      tallystick serve --store sqlite:///fleet.db --port 8321
    """
    server = server_module()
    if not _is_loopback(host):
        raise click.UsageError(
            f"--host: found {host!r}, allowed are 127.0.0.1, ::1 and localhost: without keys, the server is open to all"
        )
    with server.listen(host, port) as listening, _opened(store_url, config_file, prices_file) as fleet:
        server.log_requests()
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        log.warning("open_server", detail="no keys are configured: every program of this machine may do everything")
        click.echo(f"serving {store_url} at {url}")
        server.serve(fleet, listening, host)


def server_module() -> Any:
    """The module that serves.

    Raises:
        ClickException: the packages of the extra are missing.
    """
    try:
        from tallystick.http import server
    except ImportError as error:
        raise click.ClickException(_MISSING) from error
    return server


def _opened(store_url: str, config_file: Path | None, prices_file: Path | None) -> Fleet:
    store = open_store(store_url, writer=True)
    try:
        settings = settings_for(store, config_file, prices_file)
    except BaseException:
        store.close()
        raise
    fleet = Fleet.open(store, settings.config, settings.prices)
    if config_file is not None:
        try:
            fleet.follow(config_file)
        except BaseException:
            fleet.close()
            raise
    return fleet


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
