"""``tallystick send --url``: a message to a server, over HTTP."""

import click
import msgspec

from tallystick.client import Client, Unanswered, WrongServer
from tallystick.events.messages import Command

_RETRY_SECONDS = 10.0
"""So long a server that is just being restarted is waited for."""


def reply_of_server(url: str, key: str | None, command: Command) -> bytes:
    """The reply of the server at a URL.

    Raises:
        UsageError: the URL or the key is none.
        ClickException: there was no answer, or none of a server of tallystick.
    """
    try:
        client = Client(url, key, retry_seconds=_RETRY_SECONDS)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    with client:
        try:
            return msgspec.json.encode(client.ask(command))
        except WrongServer as error:
            raise click.ClickException(str(error)) from None
        except Unanswered as error:
            text = f"{error}; --id {command.id} names the same message again"
            raise click.ClickException(text) from None
