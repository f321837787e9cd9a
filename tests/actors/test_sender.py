"""The sender: what is wrong with an address, and what becomes of an alert that a plugin or a closing fleet stops."""

import pytest

from tallystick.actors.policies.delivery import Send, Sent
from tallystick.actors.runtime.sender import AlertSender, send_by_apprise
from tallystick.events.state.outbox import Notice
from tests.support.core import START
from tests.support.stores import SECONDS

NOTICE = Notice("x-1", "x", "m", None, START, (("ceo", "0"),))


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("json://${TALLYSTICK_NOT_SET_HERE}/hook", "the variable TALLYSTICK_NOT_SET_HERE is not set"),
        ("json://a/${HOME}", "the variable HOME is not read: only those whose names begin with TALLYSTICK_ are"),
        ("carrier-pigeon://roof", "it is no address of apprise (its scheme is 'carrier-pigeon')"),
        ("nonsense", "it is no address of apprise"),
        ("slack://incomplete", "it is no address of apprise (its scheme is 'slack')"),
        ("json://127.0.0.1:1/hook", "A Connection error occurred sending JSON notification to 127.0.0.1."),
    ],
)
def test_what_is_wrong_with_an_address_is_said_without_its_secrets(address: str, problem: str) -> None:
    assert send_by_apprise(address, NOTICE) == problem


def test_a_plugin_that_raises_has_not_delivered_and_a_closed_sender_begins_nothing() -> None:
    heard: list[Sent] = []

    def fail(address: str, notice: Notice) -> None:
        raise ZeroDivisionError("seven by nothing")

    sender = AlertSender(fail, heard.append)
    send = Send(NOTICE, ("ceo", "0"), "json://somewhere")
    sender.take(send)
    assert sender.rest(SECONDS)
    assert [one.problem for one in heard] == ["ZeroDivisionError: seven by nothing"]
    sender.close()
    sender.take(send)
    assert sender.rest(0)
    assert (sender.tried, len(heard)) == (1, 1)
