"""``tallystick send hand-over``: the server that writes a fleet lets a standby take its place."""

from typing import Any, Final

import click
import httpx2
import msgspec

from tallystick.events.log.store_place import is_postgres, shown

HAND_OVER: Final = "hand-over"
_ANSWER_SECONDS: Final = 100.0
"""What the writer has accepted is finished first."""


def hand_over(store_url: str, url: str | None, key: str | None) -> bytes:
    """The reply of the writer: the one at ``url``, or the one that has said in the database where it is.

    Raises:
        UsageError: the store is in no database.
        ClickException: there is no writer, or it cannot be reached.
    """
    server = (_writer_of(store_url) if url is None else url).rstrip("/")
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        answer = httpx2.post(f"{server}/v1/hand-over", headers=headers, timeout=_ANSWER_SECONDS)
        said = msgspec.json.decode(answer.content)
    except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError) as error:
        why = str(error) or type(error).__name__
        text = f"{server} gave no answer ({why}): /readyz of the servers says which is the writer now"
        raise click.ClickException(text) from None
    return msgspec.json.encode({"ok": said} if answer.status_code == 200 else {"error": _as_error(said)})


def _as_error(said: Any) -> Any:
    """A problem as a refusal."""
    if not isinstance(said, dict):
        return said
    return {name: value for name, value in said.items() if name not in ("type", "title", "status")}


def _writer_of(store_url: str) -> str:
    if not is_postgres(store_url):
        text = f"hand-over: found the store {shown(store_url)}, allowed is one in PostgreSQL (postgresql://...)"
        raise click.UsageError(f"{text}, or --url: only there a writer has standbys")
    from tallystick.events.log.postgres_servers import Servers

    servers = Servers(store_url)
    try:
        writer = servers.writer()
    finally:
        servers.close()
    if writer is None or writer.seconds_left <= 0:
        raise click.ClickException(f"{shown(store_url)} has no writer: there is none that could hand over")
    if writer.url is None:
        text = f"{shown(store_url)} is written by {writer.holder}, which is no server: it hands over when it ends"
        raise click.ClickException(text)
    return writer.url
