"""Alerts lead into no network of this machine that is not listed, whatever a name or an answer says."""

import datetime as dt
import smtplib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tallystick.actors.policies.delivery import Send, Sent
from tallystick.actors.runtime.reach import reaching
from tallystick.actors.runtime.sender import AlertSender, send_by_apprise
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping
from tallystick.config.networks import is_allowed
from tallystick.events.state.outbox import Notice
from tests.support.receiver import Receiver
from tests.support.stores import SECONDS

NOTICE = Notice("n-1", "budget_exhausted", "a is used up", "a", dt.datetime(2026, 3, 4, tzinfo=dt.UTC), ())
LISTED = "127.0.0.1 is of a private network, or this machine: notification_networks lists which may be sent to"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def outcome(address: str, *networks: str) -> str | None:
    """What becomes of an alert that a fleet sends to an address."""
    found: list[Sent] = []
    sender = AlertSender(send_by_apprise, found.append)
    sender.take(Send(NOTICE, ("ceo", "0"), address, networks))
    assert sender.rest(SECONDS)
    sender.close()
    return found[0].problem


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::"),  # noqa: S104
        *("::ffff:10.0.0.5", "64:ff9b::10.0.0.5", "2002:0a00:0005::1", "no address", ""),
    ],
)
def test_what_is_not_of_the_internet_is_not_allowed(host: str) -> None:
    assert not is_allowed(host, ())


@pytest.mark.parametrize("host", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"])
def test_what_is_of_the_internet_is_allowed(host: str) -> None:
    assert is_allowed(host, ())


def test_what_is_listed_is_allowed_and_nothing_beside_it() -> None:
    networks = ("10.1.0.0/16", "fd00::/8", "192.168.1.7")
    assert all(is_allowed(host, networks) for host in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "192.168.1.7"))
    assert not any(is_allowed(host, networks) for host in ("10.2.0.1", "fe80::1", "192.168.1.8"))


def test_what_is_listed_is_an_address_or_a_network() -> None:
    assert from_mapping({"notification_networks": ["10.0.0.0/8", "::1"]}).notification_networks == ("10.0.0.0/8", "::1")
    for wrong in ("localhost", "10.0.0.1/8", "*", ""):
        with pytest.raises(ConfigError, match="notification_networks") as error:
            from_mapping({"notification_networks": [wrong]})
        assert "notification_networks[0]" in str(error.value)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_hook_on_this_machine_is_refused_also_by_name_unless_it_is_listed(receiver: Receiver, name: str) -> None:
    address = receiver.address.replace("127.0.0.1", name)
    problem = outcome(address)
    assert problem is not None
    assert problem.endswith(
        "is of a private network, or this machine: notification_networks lists which may be sent to"
    )
    assert receiver.got == []
    assert outcome(address, "127.0.0.0/8", "::1") is None
    assert receiver.alerts == ["n-1"]


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("location", receiver.address.replace("json:", "http:"))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """It is not read."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        assert outcome(f"json://127.0.0.1:{server.server_port}/", "127.0.0.1") is not None
        server.shutdown()
    assert receiver.got == []


def test_every_way_to_connect_is_looked_at_and_other_threads_are_not(receiver: Receiver) -> None:
    port = int(receiver.address.rpartition(":")[2].partition("/")[0])
    with reaching(()) as reach:
        with pytest.raises(OSError, match="not allowed"):
            socket.create_connection(("localhost", port))
        with socket.socket() as plain, pytest.raises(OSError, match="not allowed"):
            plain.connect_ex(("127.0.0.1", port))
        with socket.socket() as plain, pytest.raises(OSError, match="not allowed"):
            plain.connect(("localhost", port))
        with socket.socket(type=socket.SOCK_DGRAM) as plain, pytest.raises(OSError, match="not allowed"):
            plain.sendto(b"x", ("127.0.0.1", port))
        with pytest.raises(OSError, match="not allowed"):
            smtplib.SMTP("127.0.0.1", port)
        others: list[str] = []

        def connect() -> None:
            socket.create_connection(("127.0.0.1", port)).close()
            others.append("connected")

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        assert others == ["connected"]
    assert reach.problem == LISTED
    socket.create_connection(("127.0.0.1", port)).close()
