"""Alerts reach people through a real web hook: at least once, and never twice where the first was acknowledged."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from tallystick.actors.runtime import fleet as runtime
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.sender import NOT_INSTALLED, problem_of
from tallystick.config.addresses import mark
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Record, Store, StoreError, open_store
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START
from tests.support.receiver import Receiver
from tests.support.running import QUIET, OpenFleet
from tests.support.stores import SECONDS


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    """Two of them, listening."""
    both = [Receiver(), Receiver()]
    yield both
    for one in both:
        one.close()


@pytest.fixture
def boss(receivers: list[Receiver]) -> Receiver:
    return receivers[0]


HERE = {"notification_networks": ["127.0.0.1"]}
"""Receivers are on this machine."""


def sent_to(*receivers: Receiver) -> dict[str, Any]:
    """Settings by which each of them gets alerts, and nothing else happens when time passes."""
    return {"reallocation": {"enabled": False}, "notifications": {"ceo": [one.address for one in receivers]}, **HERE}


def use_up(fleet: Fleet, agent: str) -> str:
    """An agent uses up its budget; the alert's id."""
    fleet.ask({"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 10}})
    fleet.ask({"type": "ReportUsage", "agent": agent, "usage": {"tokens": 10}})
    raised = [event for event in events(fleet._store, e.AlertRaised) if event.agent == agent]
    return str(raised[-1].alert)


def events(store: Store, *classes: type[e.Event]) -> list[Any]:
    found = [decode_event(record.data, record.name) for record in store.read()]
    return [event for event in found if isinstance(event, classes)]


def after(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


# --- it arrives ------------------------------------------------------------------------------------------------------


def test_an_alert_arrives_with_its_id_and_its_delivery_is_recorded(open_fleet: OpenFleet, boss: Receiver) -> None:
    fleet = open_fleet(notify=True, **sent_to(boss))
    alert = use_up(fleet, "a")
    fleet.quiesce()
    (message,) = boss.got
    assert message["alert"] == alert
    assert message["title"] == "tallystick: budget exhausted"
    assert message["message"] == f"a has used up its tokens\n\n2026-03-04 12:00:00Z, alert {alert}"
    assert message["type"] == "warning"
    (delivered,) = events(fleet._store, e.AlertDelivered)
    assert (delivered.alert, delivered.to, delivered.address) == (alert, "ceo", mark(boss.address))
    assert (delivered.by, delivered.kind) == ("courier", "fact")


def test_what_was_acknowledged_is_never_sent_again(open_fleet: OpenFleet, boss: Receiver, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url, notify=True, **sent_to(boss))
    alert = use_up(fleet, "a")
    fleet.quiesce()
    fleet.close()
    for _ in range(2):
        fleet = open_fleet(url, notify=True, **sent_to(boss))
        fleet.advance(after(7200))
        fleet.close()
    assert boss.alerts == [alert]


def test_a_second_address_that_is_down_does_not_send_to_the_first_twice(
    open_fleet: OpenFleet, receivers: list[Receiver], tmp_path: Path
) -> None:
    boss, phone = receivers
    phone.up = False
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url, notify=True, **sent_to(boss, phone))
    alert = use_up(fleet, "a")
    fleet.quiesce()
    fleet.close()
    phone.up = True
    fleet = open_fleet(url, notify=True, **sent_to(boss, phone))
    fleet.advance(after(1))
    assert (boss.alerts, phone.alerts) == ([alert], [alert, alert])
    assert fleet._manager.ledger.outbox == {}


# --- it survives -----------------------------------------------------------------------------------------------------


class ForgetsDeliveries(MemoryStore):
    """Fails when a delivery is to be recorded, until it is ``mended``."""

    mended = False

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        if not self.mended and any(record.name == "alert-delivered.v1" for record in records):
            raise StoreError("the disk is on fire")
        super().append(records, sources)


def test_what_was_accepted_and_not_recorded_is_sent_again_under_the_same_id(
    open_fleet: OpenFleet, boss: Receiver
) -> None:
    store = ForgetsDeliveries()
    fleet = open_fleet(store, notify=True, **sent_to(boss))
    alert = use_up(fleet, "a")
    boss.wait_for(1)
    fleet.close()
    assert fleet.halted is not None
    assert events(store, e.AlertDelivered) == []
    store.mended = True
    fleet = open_fleet(store, notify=True, **sent_to(boss))
    fleet.advance(after(1))
    assert boss.alerts == [alert, alert]
    assert len(events(store, e.AlertDelivered)) == 1


KILLED = """
import sys
from tallystick import Fleet
from tallystick.config.loader import from_mapping

config = {"notifications": {"ceo": [sys.argv[2]]}, "notification_networks": ["127.0.0.1"]}
with Fleet.open(sys.argv[1], from_mapping(config)) as fleet:
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
    fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}})
    print(flush=True)
    sys.stdin.read()
"""


def test_a_fleet_that_is_killed_between_sending_and_recording_sends_again_under_the_same_id(
    open_fleet: OpenFleet, boss: Receiver, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, url, boss.address], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        boss.on_post = lambda message: os.kill(child.pid, signal.SIGKILL)
        assert child.wait(SECONDS) == -signal.SIGKILL
    boss.on_post = lambda message: None
    store = open_store(url)
    assert events(store, e.AlertDelivered) == []
    store.close()
    fleet = open_fleet(url, notify=True, **sent_to(boss))
    fleet.advance(START)
    (first, second) = boss.alerts
    assert first == second
    assert fleet._manager.ledger.outbox == {}


def test_what_could_not_be_sent_before_is_sent_when_the_fleet_is_open_again(
    open_fleet: OpenFleet, boss: Receiver, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url, **sent_to(boss))
    alerts = [use_up(fleet, name) for name in ("a", "b", "c")]
    fleet.close()
    assert boss.got == [], "a fleet with a clock of its own sends nothing unless it is asked to"
    fleet = open_fleet(url, notify=True, **sent_to(boss))
    fleet.advance(START)
    assert boss.alerts == alerts


def test_an_address_that_is_taken_away_at_the_restart_hears_nothing(
    open_fleet: OpenFleet, receivers: list[Receiver], tmp_path: Path
) -> None:
    boss, phone = receivers
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url, **sent_to(boss, phone))
    alert = use_up(fleet, "a")
    fleet.close()
    fleet = open_fleet(url, notify=True, **sent_to(phone))
    fleet.advance(START)
    assert (boss.alerts, phone.alerts) == ([], [alert])


# --- it fails --------------------------------------------------------------------------------------------------------


def test_a_receiver_that_is_down_is_tried_again_later_and_blocks_no_other(
    open_fleet: OpenFleet, receivers: list[Receiver]
) -> None:
    boss, phone = receivers
    boss.up = False
    fleet = open_fleet(notify=True, **sent_to(boss, phone))
    first = use_up(fleet, "a")
    fleet.quiesce()
    second = use_up(fleet, "b")
    fleet.quiesce()
    assert phone.alerts == [first, second]
    for until, tries in ((0.9, 1), (1, 2), (2.9, 2), (3, 3), (7, 4)):
        fleet.advance(after(until))
        assert len(boss.got) == tries, f"after {until} s"
    boss.up = True
    fleet.advance(after(15))
    assert set(boss.alerts[-2:]) == {first, second}
    assert fleet._manager.ledger.outbox == {}


def test_a_receiver_that_hangs_keeps_no_agent_from_working(open_fleet: OpenFleet, receivers: list[Receiver]) -> None:
    boss, phone = receivers
    released = threading.Event()
    boss.on_post = lambda message: released.wait(SECONDS)
    fleet = open_fleet(notify=True, **sent_to(boss, phone))
    use_up(fleet, "a")
    boss.wait_for(1)
    last = use_up(fleet, "b")
    phone.wait_for(2)
    assert phone.alerts[-1] == last
    assert fleet.ask({"type": "GetStatus", "agent": "a"})["ok"]["action"] == "stop"
    released.set()
    # On a slow machine the library may have lost its patience: then it is tried again.
    fleet.advance(after(10))
    assert fleet._manager.ledger.outbox == {}


def test_a_fleet_that_closes_waits_for_what_is_on_its_way_and_records_it(
    open_fleet: OpenFleet, boss: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "CLOSING_SECONDS", SECONDS)
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url, notify=True, **sent_to(boss))
    alerts = [use_up(fleet, name) for name in ("a", "b", "c")]
    fleet.close()
    assert boss.alerts == alerts
    store = open_store(url)
    assert [event.alert for event in events(store, e.AlertDelivered)] == alerts
    store.close()


def test_an_enforcer_that_fails_is_replaced_and_what_is_owed_is_sent(
    open_fleet: OpenFleet, boss: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet(notify=True, **sent_to(boss))

    def fail(*_: object) -> None:
        raise ZeroDivisionError("seven by nothing")

    monkeypatch.setattr(fleet._specialists["enforcer"], "handle", fail)
    alert = use_up(fleet, "a")
    fleet.quiesce()
    fleet.advance(after(1))
    assert boss.alerts == [alert]


def test_an_alert_that_is_refused_for_a_day_is_given_up_by_an_event(open_fleet: OpenFleet, boss: Receiver) -> None:
    boss.up = False
    fleet = open_fleet(notify=True, **sent_to(boss))
    alert = use_up(fleet, "a")
    fleet.advance(after(90_000))
    (failed,) = events(fleet._store, e.AlertDeliveryFailed)
    assert (failed.alert, failed.reason, failed.attempts, len(boss.got)) == (alert, "not_accepted", 36, 36)
    assert fleet._manager.ledger.outbox == {}


# --- addresses and the library ---------------------------------------------------------------------------------------


def test_a_variable_is_read_when_the_alert_is_sent_and_is_not_in_the_log(
    open_fleet: OpenFleet, boss: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, place = boss.address.partition("://")
    monkeypatch.setenv("TALLYSTICK_BOSS_SECRET", place)
    fleet = open_fleet(notify=True, notifications={"ceo": ["json://${TALLYSTICK_BOSS_SECRET}"]}, **HERE)
    use_up(fleet, "a")
    fleet.quiesce()
    assert len(boss.got) == 1
    assert not any(place.encode() in record.data for record in fleet._store.read())


def test_without_the_library_an_alert_waits_and_the_operator_sees_what_to_install(
    open_fleet: OpenFleet, boss: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        patch.setitem(sys.modules, "apprise", None)
        assert (
            problem_of(boss.address, {})
            == NOT_INSTALLED
            == "apprise is not installed: pip install 'tallystick[notify]'"
        )
        fleet = open_fleet(notify=True, **sent_to(boss))
        alert = use_up(fleet, "a")
        fleet.quiesce()
        assert boss.got == []
        assert alert in fleet._manager.ledger.outbox
        assert NOT_INSTALLED in [entry.get("problem") for entry in logged]
    fleet.advance(after(1))
    assert boss.alerts == [alert]


def test_only_a_fleet_on_the_machines_clock_tells_people_by_itself(clock: ManualClock, boss: Receiver) -> None:
    config = from_mapping({**QUIET, **sent_to(boss)})
    with Fleet.open("memory:", config, notify=False) as fleet:
        use_up(fleet, "a")
    with Fleet.open("memory:", config, clock=clock) as fleet:
        use_up(fleet, "a")
    assert boss.got == []
    with Fleet.open("memory:", config) as fleet:
        alert = use_up(fleet, "a")
        boss.wait_for(1)
    assert boss.alerts == [alert]


def test_a_single_message_from_the_command_line_delivers_its_alert_before_it_ends(
    boss: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "limits.yml").write_text(
        json.dumps({"total_budget": {"tokens": 1000}, **sent_to(boss)}), encoding="utf-8"
    )

    def send(message: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tallystick", "send", json.dumps(message), "--config", "limits.yml"]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)

    send({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
    send({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}})
    assert len(boss.got) == 1
    send({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
    assert len(boss.got) == 1


def test_a_simulated_fleet_sends_no_alert(boss: Receiver, tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text(
        json.dumps({"total_budget": {"tokens": 1000}, **sent_to(boss)}), encoding="utf-8"
    )
    lines = [
        {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}},
        {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}},
    ]
    text = "".join(json.dumps({"at": "2026-03-04T12:00:00Z", **line}) + "\n" for line in lines)
    (tmp_path / "scenario.jsonl").write_text(text, encoding="utf-8")
    url = f"sqlite:///{tmp_path}/fleet.db"
    command = [sys.executable, "-m", "tallystick", "simulate", "scenario.jsonl", "--config", "limits.yml"]
    subprocess.run([*command, "--store", url], check=True, cwd=tmp_path, capture_output=True)
    assert boss.got == []
    store = open_store(url)
    assert len(events(store, e.AlertRaised)) == 1
    assert events(store, e.AlertDelivered, e.AlertDeliveryFailed) == []
    store.close()
