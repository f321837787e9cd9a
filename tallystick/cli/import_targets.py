"""Where an import is reported to, or a reconciliation applied: a fleet that runs on this machine, a store that is
opened for it, or a server.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from tallystick.actors.errors import NOT_NOW, Unanswered
from tallystick.actors.runtime.control_client import ask
from tallystick.actors.runtime.control_connection import digest_of
from tallystick.actors.runtime.control_peer import own_peer
from tallystick.actors.runtime.control_place import places_of
from tallystick.actors.runtime.control_socket import is_live
from tallystick.actors.runtime.intake import Asker
from tallystick.cli.common import settings_for
from tallystick.cli.send import KEY_VARIABLE
from tallystick.events.log.codec import encode_command
from tallystick.events.log.store import Store, WriterPresent, open_store
from tallystick.events.messages import ReportUsage
from tallystick.fleet import Fleet
from tallystick.importing.reporting import Ask

_PATIENCE_SECONDS: Final = 3.0
"""How long a fleet that is just being opened or closed is waited for."""
_BUSY_SECONDS: Final = 60.0
"""How long a fleet that has too much to do is asked again."""
_LOOK_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 60.0
"""So long a server that is just being restarted is waited for."""
_ANSWER_SECONDS: Final = 120.0
"""So long an array of reports may take."""
AGAIN: Final = "do it again: what is recorded already counts once"


class Place(NamedTuple):
    """What the options say of the fleet: a store, or a server's URL and key."""

    store_url: str
    config_file: Path | None
    prices_file: Path | None
    url: str | None
    key: str | None
    by: str


@contextmanager
def asking(place: Place) -> Iterator[Ask]:
    """How the fleet is asked, as long as it is needed.

    Raises:
        ClickException: another process writes the fleet, and cannot be reached.
        UsageError: the URL or the key is none, or settings are named for a fleet that runs.
    """
    if place.url is not None:
        with _server(place.url, place.key) as ask_server:
            yield ask_server
        return
    found = _found(place)
    if isinstance(found, Path):
        if place.config_file or place.prices_file:
            raise click.UsageError("--config and --prices are for a fleet that is opened, and this one runs")
        yield lambda reports: _until_decided(lambda: _over(found, reports, place.by))
        return
    try:
        settings = settings_for(found, place.config_file, place.prices_file)
    except BaseException:
        found.close()
        raise
    asker = Asker(own_peer().encoded(), digest_of(os.environ.get(KEY_VARIABLE) or None))
    with Fleet.open(found, settings.config, settings.prices, by=place.by) as fleet:
        yield lambda reports: _until_decided(lambda: fleet.ask(reports, place.by, _ANSWER_SECONDS, asker=asker))


def _found(place: Place) -> Path | Store:
    """The socket of a fleet that runs, or its store, opened to be written where none runs.

    Raises:
        ClickException: another process writes the fleet, and cannot be reached.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        for path in places_of(place.store_url):
            if is_live(path):
                return path
        try:
            return open_store(place.store_url, writer=True)
        except WriterPresent as error:
            if time.monotonic() > until:
                text = "it has no control socket that can be reached from here: do it as its user, or with --url"
                raise click.ClickException(f"{error}; {text}") from None
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _server(url: str, key: str | None) -> Iterator[Ask]:
    from tallystick.client import Client, WrongServer  # noqa: PLC0415 - httpx is loaded only where it is used

    try:
        client = Client(url, key, retry_seconds=_RETRY_SECONDS)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None

    def ask_server(reports: list[ReportUsage]) -> list[dict[str, Any]]:
        try:
            answers: list[dict[str, Any]] = client.ask(reports, timeout=_ANSWER_SECONDS)
        except WrongServer as error:
            raise click.ClickException(str(error)) from None
        except Unanswered as error:
            raise click.ClickException(f"{error}; {AGAIN}") from None
        return answers

    with client:
        yield ask_server


def _over(place: Path, reports: list[ReportUsage], by: str) -> list[dict[str, Any]]:
    """The answers of the fleet that listens at a place."""
    message = b"[%b]" % b",".join(map(encode_command, reports))
    try:
        reply = ask(place, message, by, os.environ.get(KEY_VARIABLE) or None, _ANSWER_SECONDS)
    except Unanswered as error:
        raise click.ClickException(f"{error}; {AGAIN}") from None
    if reply is None:
        raise click.ClickException(f"the fleet was closed meanwhile; {AGAIN}")
    answers = msgspec.json.decode(reply)
    return answers if isinstance(answers, list) else [answers] * len(reports)


def _until_decided(ask_once: Any) -> list[dict[str, Any]]:
    """The answers, asked for again while the fleet cannot decide: messages have ids, so each is decided once."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        answers: list[dict[str, Any]] = ask_once()
        codes = {answer["error"]["code"] for answer in answers if "error" in answer}
        if "halted" in codes:
            raise click.ClickException(f"the fleet has stopped; start it, and {AGAIN}")
        if codes.isdisjoint(NOT_NOW) or time.monotonic() > until:
            return answers
        time.sleep(_LOOK_SECONDS)
