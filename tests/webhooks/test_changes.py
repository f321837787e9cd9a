"""Webhooks that come, change and go while a fleet runs, and while something is on its way to them."""

from pathlib import Path

import pytest

from tallystick import Fleet
from tallystick.config.loader import from_mapping
from tallystick.webhooks import webhooks
from tallystick.webhooks.progress import KeptInFile
from tests.support.programs import SECONDS, until
from tests.support.webhooks import Answering, Held, named

REMOVED = {"webhooks": {"audit": None}}


def test_webhooks_come_and_go_while_the_fleet_runs(receiver: Answering, tmp_path: Path) -> None:
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", {"timezone": "UTC"}) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        fleet.put_in_force(named(receiver))
        until(lambda: [one.progress.position for one in fleet.webhook_figures] == [fleet.position])
        begun = receiver.accepted[0]
        assert begun > 1
        fleet.put_in_force({"webhooks": {"audit": {**named(receiver)["webhooks"]["audit"], "kinds": ["fleet-paused"]}}})
        fleet.ask({"type": "PauseAll", "reason": "r"})
        until(lambda: receiver.got[-1].events[0]["type"] == "tallystick.fleet-paused.v1")
        fleet.put_in_force({"webhooks": {"audit": None}})
        until(lambda: fleet.webhook_figures == [])
        fleet.ask({"type": "PauseAll", "reason": "again"})
    assert receiver.got[-1].events[0]["data"]["reason"] == "r"


def test_what_is_recorded_behind_a_change_of_a_webhook_is_sent_as_it_is_configured_then(
    receiver: Answering, tmp_path: Path
) -> None:
    """Given a request on its way while the webhook gets another address, when more is recorded, then that has it."""
    held, second = Held(receiver), Answering()
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver)) as fleet:
        held.until_on_its_way()
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        changed_at = fleet.position + 1
        fleet.put_in_force(named(second))
        fleet.ask({"type": "PauseAll", "reason": "r"})
        held.goes_on.set()
        last = fleet.position
        until(lambda: last in second.accepted)
    assert receiver.accepted == list(range(1, changed_at))
    assert second.accepted == list(range(changed_at, last + 1))
    second.close()


def test_what_was_not_selected_before_a_change_of_a_webhook_is_not_sent_after_it(
    receiver: Answering, tmp_path: Path
) -> None:
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver, kinds=["config-loaded"])) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        fleet.put_in_force(named(receiver, kinds=[]))
        until(lambda: receiver.accepted[-1:] == [fleet.position])
        assert receiver.accepted == [1, fleet.position]
        fleet.ask({"type": "PauseAll", "reason": "r"})
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver, kinds=["config-loaded"])) as fleet:
        fleet.ask({"type": "ResumeAll"})
        not_selected = fleet.position
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver, kinds=[])) as fleet:
        assert fleet.position > not_selected
    assert not_selected not in receiver.accepted


def test_a_webhook_that_is_put_in_again_while_something_is_on_its_way_begins_anew(
    receiver: Answering, tmp_path: Path
) -> None:
    url, kept = f"sqlite:///{tmp_path}/fleet.db", KeptInFile(tmp_path / "fleet.db.webhooks")
    with Fleet.open(url, named(receiver)) as fleet:
        until(lambda: "audit" in kept.load())
    held = Held(receiver)
    with Fleet.open(url) as fleet:
        on_its_way = fleet.position + 1
        fleet.ask({"type": "PauseAll", "reason": "r"})
        held.until_on_its_way()
        fleet.put_in_force(REMOVED)
        fleet.ask({"type": "ResumeAll"})
        again_at = fleet.position + 1
        fleet.put_in_force(named(receiver))
        held.goes_on.set()
        last = fleet.position
        until(lambda: last in receiver.accepted)
    assert receiver.accepted == [*range(1, on_its_way + 1), *range(again_at, last + 1)]


def test_a_webhook_that_is_changed_and_then_taken_out_while_something_is_on_its_way_gets_nothing_more(
    receiver: Answering, tmp_path: Path
) -> None:
    held, second = Held(receiver), Answering()
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver)) as fleet:
        held.until_on_its_way()
        first = fleet._webhooks._forwarders["audit"]
        fleet.ask({"type": "PauseAll", "reason": "r"})
        fleet.put_in_force(named(second))
        fleet.put_in_force(REMOVED)
        held.goes_on.set()
        assert first.join(SECONDS)
    assert (receiver.accepted, second.got) == (receiver.got[0].positions, [])
    second.close()


def test_a_webhook_that_was_taken_out_is_new_when_it_is_put_in_again_whatever_was_on_its_way_at_the_end(
    receiver: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "FINISH_SECONDS", 0.0)
    url, kept = f"sqlite:///{tmp_path}/fleet.db", KeptInFile(tmp_path / "fleet.db.webhooks")
    with Fleet.open(url, named(receiver)):
        until(lambda: "audit" in kept.load())
    held = Held(receiver)
    with Fleet.open(url) as fleet:
        fleet.ask({"type": "PauseAll", "reason": "r"})
        held.until_on_its_way()
        removed = fleet._webhooks._forwarders["audit"]
        fleet.put_in_force(REMOVED)
    assert kept.load() == {}
    held.goes_on.set()
    assert removed.join(SECONDS)
    assert kept.load() == {}


def test_what_came_into_force_while_a_fleet_was_opened_stays(receiver: Answering, tmp_path: Path) -> None:
    second = Answering()
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", {"timezone": "UTC"}) as fleet:
        fleet.put_in_force(named(second))
        # As where it came between the reading of the configuration and this.
        fleet._webhooks.begin(from_mapping(named(receiver)))
        assert fleet._webhooks._forwarders["audit"].hook.url == second.url
    assert receiver.got == []
    second.close()
