"""When a fleet has something to do by itself: what a shard says of it when it is closed."""

import datetime as dt
import threading
from collections.abc import Iterator

import pytest

from tallystick import Fleet
from tallystick.actors.runtime.clock import ManualClock
from tests.support.core import START
from tests.support.receiver import Receiver
from tests.support.stores import SECONDS

DAYS_END = dt.datetime.combine(START.date() + dt.timedelta(days=1), dt.time(), dt.UTC)
OPEN = {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}}
HOLD = {"type": "Reserve", "id": "call", "agent": "a", "estimate": {"tokens": 5}, "ttl_seconds": 600}


@pytest.fixture
def boss() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_regular_rebalancing_is_nothing_to_open_a_fleet_for_but_a_hold_and_the_days_end_are() -> None:
    with Fleet.open("memory:", {"total_budget": {"tokens": 100}}, clock=ManualClock(START)) as fleet:
        for message, due_at in ((OPEN, DAYS_END), (HOLD, START + dt.timedelta(minutes=10))):
            assert "ok" in fleet.ask(message)
            fleet.quiesce()
            assert fleet.due_at == due_at


def test_an_alert_is_due_while_it_is_on_its_way_and_when_it_is_tried_again(boss: Receiver) -> None:
    on_its_way, go_on = threading.Event(), threading.Event()
    boss.up = False

    def hold(_: object) -> None:
        on_its_way.set()
        assert go_on.wait(SECONDS)

    boss.on_post = hold
    here = {"notifications": {"ceo": [boss.address]}, "notification_networks": ["127.0.0.1"]}
    config = {"total_budget": {"tokens": 100}, **here}
    with Fleet.open("memory:", config, clock=ManualClock(START), notify=True) as fleet:
        fleet.ask([OPEN, {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}}])
        assert on_its_way.wait(SECONDS)
        assert fleet.due_at == START
        go_on.set()
        fleet.quiesce()
        assert fleet.due_at == START + dt.timedelta(seconds=1)
        boss.up = True
        fleet.advance(START + dt.timedelta(seconds=1))
        assert fleet.due_at == DAYS_END
