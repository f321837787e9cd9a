"""``tallystick serve``: a fleet that programs elsewhere reach over HTTP."""

import errno
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import structlog

from tallystick.cli.common import config_option, prices_option, reading, settings_for, store_option
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import NoFleet, open_store
from tallystick.events.log.store_place import shown
from tallystick.fleet import Fleet

_MISSING = "the server needs more packages: pip install 'tallystick[server]'"
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
HOST: Final = "127.0.0.1"
PORT: Final = 8321
log = structlog.get_logger("tallystick.serve")


@click.command(short_help="Serve a fleet over HTTP.")
@store_option
@config_option
@prices_option
@click.option("--host", metavar="ADDRESS", default=HOST, show_default=True, help="Where to listen.")
@click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="Another name under which it may be called, such as that of a proxy in front of it; repeatable.",
)
@click.option(
    "--oidc-issuer", metavar="URL", envvar="TALLYSTICK_OIDC_ISSUER", help="An OpenID provider, by its https address."
)
@click.option("--oidc-audience", metavar="NAME", envvar="TALLYSTICK_OIDC_AUDIENCE", help="Whom its tokens must be for.")
@click.option(
    "--oidc-role-claim",
    metavar="CLAIM",
    envvar="TALLYSTICK_OIDC_ROLE_CLAIM",
    default="tallystick_role",
    show_default=True,
    help="The claim that says the role; a path like realm_access.roles, too.",
)
@click.option(
    "--oidc-agent-claim",
    metavar="CLAIM",
    envvar="TALLYSTICK_OIDC_AGENT_CLAIM",
    default="tallystick_agent",
    show_default=True,
    help="The claim that says in whose name its holder acts.",
)
@click.option(
    "--oidc-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    envvar="TALLYSTICK_OIDC_CA",
    help="Certificates (PEM) that are trusted for the provider, in place of the system's.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
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
    oidc_ca: Path | None,
    **oidc: str | None,
) -> None:
    """Open a fleet and take messages over HTTP until SIGTERM or Ctrl-C; what was accepted is finished first.

    Every message has an endpoint, POST /v1/report-usage and so on; POST /v1/messages takes any, also up to 1,000 in an
    array. A file named with --config is followed: what is changed in it comes into force.

    Without a key (tallystick key create), every program that reaches the address may do everything, so only addresses
    of this machine itself are allowed. The first key closes the server.

    \b
    Examples:
      tallystick serve
      tallystick serve --store sqlite:///fleet.db --port 8321
    """
    _check_names(names)
    server = server_module()
    tokens = _tokens(oidc, oidc_ca)
    is_local = _is_loopback(host)
    if not is_local and tokens is None and not _has_keys(store_url):
        raise click.UsageError(
            f"--host: found {host!r}, allowed are 127.0.0.1, ::1 and localhost: without keys, the server is open to"
            " all; create one first: tallystick key create --role operator"
        )
    with listening_on(server, host, port) as listening, _opened(store_url, config_file, prices_file) as fleet:
        server.log_requests()
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listening.getsockname()[1]}"
        if tokens is None and not fleet.access.keys:
            log.warning("open_server", detail="no keys are configured: every program of this machine may do everything")
        click.echo(f"serving {shown(store_url)} at {url}")
        server.serve(fleet, listening, {host, *names}, tokens)
        if fleet.halted is not None:
            raise click.ClickException(f"the fleet has stopped: {fleet.halted}; remove the cause, and start it again")


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


def listening_on(server: Any, host: str, port: int, option: str = "--port") -> socket.socket:
    """The socket that the server listens on; ``option`` is what names the port.

    Raises:
        ClickException: it cannot be had.
    """
    try:
        listening: socket.socket = server.listen(host, port)
    except PermissionError:
        text = f"port {port} is for privileged programs only: take a {option} above 1023"
        raise click.ClickException(text) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = (
                f"port {port} of {host} is taken: stop what listens there, or take another {option} (0: any free one)"
            )
            raise click.ClickException(text) from None
        reason = (error.strerror or str(error)).partition(" (while")[0]
        text = f"--host: found {host!r}, allowed is an address that this machine has now ({reason})"
        raise click.ClickException(text) from None
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


def _tokens(oidc: Mapping[str, str | None], ca: Path | None) -> Any:
    """What reads the tokens of the provider that is configured; None where none is.

    Raises:
        UsageError: it is not configured in full.
    """
    issuer, audience = oidc["oidc_issuer"], oidc["oidc_audience"]
    if issuer is None and audience is None and ca is None:
        return None
    if issuer is None or audience is None:
        raise click.UsageError("an OpenID provider needs --oidc-issuer and --oidc-audience")
    url = urlsplit(issuer)
    if url.scheme != "https" or not url.hostname or url.query or url.fragment:
        raise click.BadParameter(f"found {issuer!r}, allowed is an https address", param_hint="'--oidc-issuer'")
    from tallystick.http.oidc import OidcTokens, Provider

    provider = Provider(issuer, audience, oidc["oidc_role_claim"] or "", oidc["oidc_agent_claim"] or "")
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise click.BadParameter(f"{ca} has no certificates: {error}", param_hint="'--oidc-ca'") from None
    return OidcTokens.of(provider, context)


def _has_keys(store_url: str) -> bool:
    """Whether the fleet of a store ever had a key. Nothing is created for it to be looked up."""
    try:
        with reading(store_url) as store:
            return bool(open_ledger(store).ledger.keys)
    except NoFleet:
        return False


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
