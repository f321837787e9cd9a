"""``tallystick mcp``: a fleet for a program that starts its MCP servers itself, over stdin and stdout."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click

from tallystick.cli.common import server_options, store_option
from tallystick.cli.send import KEY_VARIABLE, check_name, check_place, this_user

_MISSING = "this needs more packages: pip install 'tallystick[mcp]'"


@click.command(short_help="Serve a fleet to an MCP client over stdin and stdout.")
@store_option
@server_options
@click.option("--by", metavar="NAME", help="Who asks; the user who is logged in, where it is left out.")
@click.pass_context
def mcp(ctx: click.Context, /, store_url: str, url: str | None, key: str | None, by: str | None) -> None:
    """Speak the Model Context Protocol on stdin and stdout until stdin ends: each message is a tool, what can be read a
    resource.

    A fleet that runs on this machine, as this user, is asked over its control socket. Where none runs, it is opened
    with the first message, as tallystick send does, and stays open until stdin ends. $TALLYSTICK_OPERATOR_KEY is the
    operator's key, where the fleet has one. With --url, a server is asked, which knows from the API key who asks, and
    what that may do.

    tallystick serve speaks the same protocol itself, at /mcp.

    \b
    Examples:
      tallystick mcp --store sqlite:///fleet.db
      tallystick mcp --url http://127.0.0.1:8321
      claude mcp add tallystick -- tallystick mcp --store "sqlite:///$HOME/fleet.db"
    """
    check_name("--by", by)
    check_place(ctx, url)
    try:
        from tallystick.cli.mcp_store import OfStore
        from tallystick.mcp.of_server import OfServer
        from tallystick.mcp.over_stdio import serve_stdio
    except ImportError as error:
        raise click.ClickException(_MISSING) from error

    def backend() -> Any:
        """Where the fleet is; made in the event loop that asks it."""
        if url is None:
            return OfStore(store_url, by or this_user(), os.environ.get(KEY_VARIABLE) or None)
        try:
            return OfServer(url, key)
        except ValueError as error:
            raise click.UsageError(f"--{error}") from None

    if sys.stdin.isatty():
        click.echo("tallystick mcp: reads messages of an MCP client from stdin; Ctrl-D ends it", err=True)
    asyncio.run(_serve(serve_stdio, backend))


async def _serve(serve_stdio: Callable[[Any], Coroutine[Any, Any, None]], made: Callable[[], Any]) -> None:
    """Serve until stdin ends, or a signal ends the process; then close what was opened."""
    backend = made()
    serving, stopped = asyncio.create_task(serve_stdio(backend)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await backend.close()
    if not serving.done():
        # A thread waits for the next line of stdin, and nothing but that line ends its wait.
        os._exit(0)
    stopping.cancel()
    await serving
