"""Sends alerts to people, by the library apprise, on threads of its own: the only part that waits for the network."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import quote

import structlog

from tallystick.actors.policies.delivery import Send, Sent
from tallystick.actors.runtime.reach import reaching
from tallystick.config.addresses import PREFIX, foreign, resolved
from tallystick.events.state.outbox import Notice

THREADS_MAX: Final = 8
"""How many addresses are waited for at the same time; apprise waits some seconds for each."""
NOT_INSTALLED: Final = "apprise is not installed: pip install 'tallystick[notify]'"
_WITH_FIELDS: Final = frozenset({"json", "jsons", "form", "forms", "xml", "xmls"})
"""The schemes of apprise whose messages have fields of their own."""

Sender = Callable[[str, Notice], str | None]
"""Sends an alert to an address (as it is configured); what is wrong, or None where it was accepted."""

log = structlog.wrap_logger(logging.getLogger("tallystick.sender"))


class AlertSender:
    """Sends the alerts that it is given, several at a time, and reports the outcome of each."""

    def __init__(self, sender: Sender, report: Callable[[Sent], None]) -> None:
        self.tried = 0
        """How many were tried, whatever the outcome."""
        self._sender = sender
        self._report = report
        self._under_way = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(THREADS_MAX, "sender")
        self.prepare: Callable[[Send], Notice] = lambda send: send.notice
        """Makes of an alert what its recipient gets."""

    def take(self, send: Send) -> None:
        """Begin to send an alert to an address; the outcome is reported on another thread."""
        with self._changed:
            if not self._closed:
                self._under_way += 1
                self._threads.submit(self._try, send)

    def _try(self, send: Send) -> None:
        with reaching(send.networks) as reach:
            try:
                problem = self._sender(send.address, self.prepare(send))
            except Exception as error:  # noqa: BLE001 - whatever a service's plugin raises: the alert was not accepted
                problem = f"{type(error).__name__}: {error}"
        if problem is not None and reach.problem is not None:
            problem = reach.problem
        self._report(Sent(send.notice, send.owed, problem))
        with self._changed:
            self.tried += 1
            self._under_way -= 1
            self._changed.notify_all()

    @property
    def is_busy(self) -> bool:
        """Whether an alert is on its way."""
        return self._under_way > 0

    def rest(self, timeout: float) -> bool:
        """Wait until nothing is under way; False where something still is after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def close(self) -> None:
        """Begin nothing more. What is under way ends by itself; its outcome may not be recorded any more."""
        with self._changed:
            self._closed = True
        self._threads.shutdown(wait=False)


# --- apprise ---------------------------------------------------------------------------------------------------------


def send_by_apprise(address: str, notice: Notice) -> str | None:
    """Send an alert to one address of apprise, with its id in the text, and as the field ``alert`` of a web hook.

    Returns:
        What is wrong, in words without any secret of the address; None where the alert was accepted.
    """
    problem = problem_of(address, os.environ)
    if problem is not None:
        return problem
    import apprise  # noqa: PLC0415 - an extra, and a third of a second: only where something is sent

    service = apprise.Apprise(
        asset=apprise.AppriseAsset(app_id="tallystick", app_desc="tallystick", http_redirects=False)
    )
    service.add(_with_field(resolved(address, os.environ), notice.alert))
    title, body = _words(notice)
    result = service.notify(
        body, title=title, notify_type=apprise.NotifyType.WARNING, body_format=apprise.NotifyFormat.TEXT
    )
    if result:
        return None
    return "; ".join(entry.message for entry in result.logs()) or "it was not accepted"


def problem_of(address: str, environ: Mapping[str, str]) -> str | None:
    """Why nothing can be sent to an address here, whatever is there; None where it can be tried."""
    try:
        import apprise  # noqa: PLC0415 - as above
    except ImportError:
        return NOT_INSTALLED
    if names := foreign(address):
        return f"the variable {names[0]} is not read: only those whose names begin with {PREFIX} are"
    try:
        where = resolved(address, environ)
    except KeyError as error:
        return f"the variable {error.args[0]} is not set"
    if apprise.Apprise.instantiate(where) is None:
        scheme, found, _ = where.partition("://")
        return f"it is no address of apprise{f' (its scheme is {scheme!r})' if found else ''}"
    return None


def _with_field(address: str, alert: str) -> str:
    """The address of a web hook, with the alert's id as a field of its own in what is sent there."""
    if address.partition("://")[0].lower() not in _WITH_FIELDS:
        return address
    return f"{address}{'&' if '?' in address else '?'}:alert={quote(alert, safe='')}"


def _words(notice: Notice) -> tuple[str, str]:
    """The title and the text of a notification."""
    when = notice.at.strftime("%Y-%m-%d %H:%M:%SZ")
    return f"tallystick: {notice.code.replace('_', ' ')}", f"{notice.message}\n\n{when}, alert {notice.alert}"
