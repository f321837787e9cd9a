"""``tallystick serve``: a fleet that programs elsewhere reach over HTTP."""

import errno
import ipaddress
import re
import socket
from pathlib import Path
from typing import Any

import click
import structlog

from tallystick.cli.common import config_option, prices_option, settings_for, store_option
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet

_MISSING = "the server needs more packages: pip install 'tallystick[server]'"
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
log = structlog.get_logger("tallystick.serve")


@click.command(short_help="Serve a fleet over HTTP.")
@store_option
@config_option
@prices_option
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="Another name under which it may be called, such as that of a proxy in front of it; repeatable.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8321,
    show_default=True,
    help="The port; 0 takes one that is free.",
)
def serve(
    store_url: str,
    config_file: Path | None,
    prices_file: Path | None,
    host: str,
    names: tuple[str, ...],
    port: int,
) -> None:
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
    _check_names(names)
    server = _server()
    if not _is_loopback(host):
        raise click.UsageError(
            f"--host: found {host!r}, allowed are 127.0.0.1, ::1 and localhost: without keys, the server is open to all"
        )
    with _listening(server, host, port) as listening, _opened(store_url, config_file, prices_file) as fleet:
        server.log_requests()
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        log.warning("open_server", detail="no keys are configured: every program of this machine may do everything")
        click.echo(f"serving {store_url} at {url}")
        server.serve(fleet, listening, {host, *names})
        if fleet.halted is not None:
            raise click.ClickException(f"the fleet has stopped: {fleet.halted}; remove the cause, and start it again")


def _server() -> Any:
    """The module that serves.

    Raises:
        ClickException: the packages of the extra are missing.
    """
    try:
        from tallystick.http import server
    except ImportError as error:
        raise click.ClickException(_MISSING) from error
    return server


def _listening(server: Any, host: str, port: int) -> socket.socket:
    """The socket that the server listens on.

    Raises:
        ClickException: it cannot be had.
    """
    try:
        listening: socket.socket = server.listen(host, port)
    except PermissionError:
        text = f"port {port} is for privileged programs only: take a --port above 1023"
        raise click.ClickException(text) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"port {port} of {host} is taken: stop what listens there, or take another --port (0: any free one)"
            raise click.ClickException(text) from None
        reason = (error.strerror or str(error)).partition(" (while")[0]
        text = f"--host: found {host!r}, allowed is an address of this machine ({reason})"
        raise click.UsageError(text) from None
    return listening


def _check_names(names: tuple[str, ...]) -> None:
    """Names as they stand in a request's ``Host``, without the port.

    Raises:
        UsageError: one is more than a name.
    """
    for name in names:
        if not _HOST.fullmatch(name):
            text = f"--allow-host: found {name[:100]!r}, allowed is a name or an address, without scheme, port and path"
            raise click.UsageError(text)


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
