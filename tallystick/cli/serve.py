"""``tallystick serve``: a fleet that programs elsewhere reach over HTTP."""

import contextlib
import errno
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import click
import structlog

from tallystick.cli.common import Settings, config_option, prices_option, reading, settings_for, store_option
from tallystick.cli.numbers import WholeNumber
from tallystick.config.errors import ConfigError
from tallystick.events.log.restoring import Opened, open_ledger
from tallystick.events.log.store import NoFleet, Store, WriterPresent, open_store
from tallystick.events.log.store_place import is_postgres, shown
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
    "--trust-proxy",
    "proxies",
    metavar="ADDRESS",
    multiple=True,
    help="The address or network of a proxy whose X-Forwarded-For is believed; repeatable. Without it, none is.",
)
@click.option(
    "--standby", is_flag=True, help="Stand by while another server is the writer, and take its place when it goes."
)
@click.option(
    "--advertise",
    "address",
    metavar="URL",
    envvar="TALLYSTICK_ADVERTISE",
    show_envvar=True,
    help="Where the other servers of the fleet reach this one, in PostgreSQL; where it listens, if left out.",
)
@click.option(
    "--oidc-issuer",
    metavar="URL",
    envvar="TALLYSTICK_OIDC_ISSUER",
    show_envvar=True,
    help="An OpenID provider, by its https address.",
)
@click.option(
    "--oidc-audience",
    metavar="NAME",
    envvar="TALLYSTICK_OIDC_AUDIENCE",
    show_envvar=True,
    help="The audience that its tokens must name.",
)
@click.option(
    "--oidc-role-claim",
    metavar="CLAIM",
    envvar="TALLYSTICK_OIDC_ROLE_CLAIM",
    show_envvar=True,
    default="tallystick_role",
    show_default=True,
    help="The claim that says the role; a path like realm_access.roles, too.",
)
@click.option(
    "--oidc-agent-claim",
    metavar="CLAIM",
    envvar="TALLYSTICK_OIDC_AGENT_CLAIM",
    show_envvar=True,
    default="tallystick_agent",
    show_default=True,
    help="The claim that says in whose name its holder acts.",
)
@click.option(
    "--oidc-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    envvar="TALLYSTICK_OIDC_CA",
    show_envvar=True,
    help="Certificates (PEM) that are trusted for the provider, in place of the system's.",
)
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
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
    proxies: tuple[str, ...],
    standby: bool,
    address: str | None,
    port: int,
    oidc_ca: Path | None,
    **oidc: str | None,
) -> None:
    """Open a fleet and take messages over HTTP until SIGTERM or Ctrl-C; what was accepted is finished first.

    Every message has an endpoint, POST /v1/report-usage and so on; POST /v1/messages takes any, also up to 1,000 in an
    array. A file named with --config is followed: what is changed in it comes into force.

    Without a key (tallystick key create), every program that reaches the address may do everything, so only addresses
    of this machine itself are allowed. The first key closes the server.

    With --standby, a server of a fleet in PostgreSQL answers questions from the log while another one is the writer,
    passes changes on to it, and becomes the writer when the other goes, or at tallystick send hand-over.

    \b
    Examples:
      tallystick serve
      tallystick serve --store sqlite:///fleet.db --port 8321
      tallystick serve --store postgresql://budgets@db/budgets --standby
    """
    _check_names(names)
    _check_proxies(proxies)
    _check_shared(store_url, standby, address)
    server = server_module()
    tokens = _tokens(oidc, oidc_ca)
    is_local = _is_loopback(host)
    if not is_local and tokens is None and not _has_keys(store_url):
        raise click.UsageError(
            f"--host: found {host!r}, allowed are 127.0.0.1, ::1 and localhost: without keys, the server is open to"
            " all; create one first: tallystick key create --role operator"
        )
    files = Files(config_file, prices_file)
    with listening_on(server, host, port) as listening:
        url = _url_of(host, listening.getsockname()[1])
        server.log_requests()
        with _served(store_url, files, standby=standby, address=address or _reached_at(url)) as served:
            fleet = served.fleet
            if tokens is None and not fleet.access.keys:
                text = "no keys are configured: every program of this machine may do everything"
                log.warning("open_server", detail=text)
            click.echo(f"{'standby of' if standby else 'serving'} {shown(store_url)} at {url}")
            called = {host, *names, *_named_in([address, _public_url(fleet)])}
            server.serve(fleet, listening, called, tokens, proxies, served.elsewhere)
            if fleet.halted is not None:
                text = f"the fleet has stopped: {fleet.halted}; remove the cause, and start it again"
                raise click.ClickException(text)


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


def _check_proxies(proxies: tuple[str, ...]) -> None:
    """Addresses and networks of proxies; all of the world at once is none.

    Raises:
        UsageError: one is something else.
    """
    for proxy in proxies:
        try:
            is_one = ipaddress.ip_network(proxy).prefixlen > 0
        except ValueError:
            is_one = False
        if not is_one:
            text = f"--trust-proxy: found {proxy[:100]!r}, allowed is an address or a network (10.0.0.0/24)"
            raise click.UsageError(text)


class Files(NamedTuple):
    """The files that a fleet is opened with, where they are named."""

    config: Path | None
    prices: Path | None


class Served(NamedTuple):
    """A fleet to be served, and what makes the way to the other servers of one that is shared."""

    fleet: Any
    elsewhere: Any = None


@contextlib.contextmanager
def _served(store_url: str, files: Files, *, standby: bool, address: str) -> Iterator[Served]:
    """What is served as long as the body runs. A fleet in PostgreSQL may have several servers."""
    if not is_postgres(store_url):
        with _opened(open_store(store_url, writer=True), files) as fleet:
            yield Served(fleet)
        return
    from tallystick.standby.sharing import sharing

    if standby:
        with reading(store_url) as store:
            settings_for(store, files.config, files.prices)  # a mistake in them is said now, and not at a takeover
    try:
        with sharing(store_url, address, lambda store, begun: _opened(store, files, begun), standby=standby) as shared:
            yield Served(shared.fleet, shared.to_writer)
    except WriterPresent as error:
        text = f"{error}; stop that process, or stand by for it: tallystick serve --standby"
        raise click.ClickException(text) from None


def _opened(store: Store, files: Files, begun: Opened | None = None) -> Fleet:
    """The fleet of a store; ``begun`` is its state where this server stood by until now.

    Then files that have become unusable meanwhile do not keep it from taking over: what is in force stays.
    """
    wrong: str | None = None
    try:
        settings = settings_for(store, files.config, files.prices)
    except BaseException as error:
        if begun is None or not isinstance(error, ConfigError):
            store.close()
            raise
        wrong, settings, files = str(error), Settings(None, None), Files(None, None)
    if wrong is not None:
        log.error("config_not_in_force", error=wrong, instead="what was in force stays; correct it, and start again")
    fleet = Fleet.open(store, settings.config, settings.prices, begun=begun)
    if files.config is not None:
        try:
            fleet.follow(files.config)
        except BaseException:
            fleet.close()
            raise
    return fleet


def _url_of(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _reached_at(url: str) -> str:
    """Where others reach a server that listens on all addresses: at this machine's name."""
    parts = urlsplit(url)
    if parts.hostname not in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not listened on
        return url
    return _url_of(socket.gethostname(), parts.port or 0)


def _public_url(fleet: Any) -> str | None:
    """The address that links in alerts name, where there are any."""
    config = fleet.access.config
    links = None if config is None else config.approval_links
    return None if links is None else links.public_url


def _named_in(addresses: Iterable[str | None]) -> Iterator[str]:
    """The names of servers in addresses."""
    for address in addresses:
        name = None if address is None else urlsplit(address).hostname
        if name is not None:
            yield name


def _check_shared(store_url: str, standby: bool, address: str | None) -> None:
    """What only a fleet in PostgreSQL can have.

    Raises:
        UsageError: it is another, or the address is none.
    """
    for option, given in (("--standby", standby), ("--advertise", address)):
        if given and not is_postgres(store_url):
            text = f"{option}: found the store {shown(store_url)}, allowed is one in PostgreSQL (postgresql://...)"
            raise click.UsageError(f"{text}: only there can several servers share a fleet")
    if address is not None:
        url = urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query or url.fragment:
            text = f"--advertise: found {address[:100]!r}, allowed is a URL like http://10.0.0.7:8321"
            raise click.UsageError(text)


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
