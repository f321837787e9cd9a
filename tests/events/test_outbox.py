"""The outbox: an alert waits for every address of those it is for, and is owed until it was accepted or given up."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.addresses import foreign, mark, may_hold_secret, resolved, variables
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import alerts
from tallystick.events.decide.turn import Turn
from tallystick.events.evolve import evolve
from tallystick.events.log import snapshot
from tallystick.events.log.codec import decode_event
from tallystick.events.messages import proposals as p
from tallystick.events.state import outbox
from tests.support.core import Core, allocate, dump, fleet, use
from tests.support.examples import examples

BOSS, PHONE, CHAT = "json://boss/hook", "json://phone/hook", "slack://${TOKENS}"
NOTIFIED: dict[str, list[str]] = {"ceo": [BOSS, PHONE], "ops": [CHAT], "nobody": []}


def core(**config: Any) -> Core:
    return Core(fleet(10_000, **{"notifications": NOTIFIED, **config}), allocate("a", 100), allocate("b", 100))


def warn(agent: str = "a") -> p.WarnAgent:
    return p.WarnAgent(agent=agent, exhausted_in_seconds=60, method="average")


def raised(core: Core, agent: str = "a") -> str:
    core.given(warn(agent))
    return core.only(e.AlertRaised).alert


def delivered(alert: str, to: str, address: str) -> p.RecordDelivery:
    return p.RecordDelivery(alert=alert, to=to, address=mark(address))


def given_up(alert: str, to: str, address: str) -> p.GiveUpDelivery:
    return p.GiveUpDelivery(alert=alert, to=to, address=mark(address), attempts=36)


def owed(core: Core, alert: str) -> list[tuple[str, str]]:
    notice = core.ledger.outbox.get(alert)
    return [] if notice is None else list(notice.owed)


ALL = [("ceo", mark(BOSS)), ("ceo", mark(PHONE)), ("ops", mark(CHAT))]

# --- to whom ---------------------------------------------------------------------------------------------------------


def test_an_alert_goes_to_everyone_who_can_be_reached_and_waits_for_each_address() -> None:
    fleet = core()
    alert = raised(fleet)
    assert fleet.only(e.AlertRaised).notify == ["ceo", "ops"]
    assert owed(fleet, alert) == ALL
    notice = fleet.ledger.outbox[alert]
    assert (notice.code, notice.agent, notice.at) == ("exhaustion_expected", "a", fleet.now)
    assert notice.message == "a will have used up its budget in about 60 s"


@pytest.mark.parametrize(("to", "names"), [("ops", ["ops"]), ("nobody", []), ("stranger", []), (None, ["ceo", "ops"])])
def test_an_alert_that_names_whom_it_is_for_goes_nowhere_else(to: str | None, names: list[str]) -> None:
    fleet = core()
    turn = Turn(fleet.ledger, fleet.now, "x", "tester")
    alerts.alert(turn, "breaker_open", "the breaker tripped", to=to)
    (event,) = turn.events
    assert isinstance(event, e.AlertRaised)
    assert event.notify == names
    assert owed(fleet, event.alert) == [one for one in ALL if one[0] in names]


def test_where_no_address_can_be_reached_nothing_waits() -> None:
    fleet = core(notifications={"ceo": []})
    raised(fleet)
    assert fleet.only(e.AlertRaised).notify == []
    assert fleet.ledger.outbox == {}


def test_an_alert_of_an_older_log_waits_for_no_address() -> None:
    fleet = core()
    old = b'{"type":"alert-raised.v1","position":9,"at":"2027-01-05T09:00:00Z","alert":"x-9","code":"x","message":"m"}'
    evolve(fleet.ledger, decode_event(old, "alert-raised.v1"))
    assert fleet.ledger.outbox == {}


# --- until when ------------------------------------------------------------------------------------------------------


def test_what_was_accepted_is_owed_no_more_and_the_rest_still_is() -> None:
    fleet = core()
    alert = raised(fleet)
    fleet.given(delivered(alert, "ceo", PHONE)).then_events(e.AlertDelivered)
    assert owed(fleet, alert) == [ALL[0], ALL[2]]
    fleet.given(delivered(alert, "ceo", BOSS), given_up(alert, "ops", CHAT)).then_events(e.AlertDeliveryFailed)
    failed = fleet.only(e.AlertDeliveryFailed)
    assert (failed.to, failed.reason, failed.attempts) == ("ops", "not_accepted", 36)
    assert fleet.ledger.outbox == {}


@pytest.mark.parametrize(
    ("alert", "to", "address"),
    [("{}", "ceo", CHAT), ("{}", "ops", BOSS), ("{}", "x", BOSS), ("no-such-7", "ceo", BOSS), ("{}", "ceo", PHONE)],
)
def test_what_is_not_owed_cannot_be_delivered_or_given_up(alert: str, to: str, address: str) -> None:
    fleet = core()
    name = raised(fleet)
    fleet.given(delivered(name, "ceo", PHONE))
    for make in (delivered, given_up):
        fleet.when(make(alert.format(name), to, address))
        fleet.then_refused("not_owed", to=to)
        assert fleet.own == [], "the specialists' proposals leave no trace when they come too late"
    assert owed(fleet, name) == [ALL[0], ALL[2]]


def test_to_an_address_that_is_no_longer_configured_nothing_is_owed() -> None:
    fleet = core()
    alert = raised(fleet)
    fleet.given(delivered(alert, "ceo", BOSS))
    changed = {"ceo": [PHONE, "json://new/hook"], "ops": []}
    fleet.given(c.LoadConfig(config={"notifications": changed}, id=f"{c.INTERNAL_ID}file"))
    assert owed(fleet, alert) == [ALL[1]], "a new address hears of what comes, not of what was"
    fleet.given(
        c.LoadConfig(
            config={"total_budget": {"tokens": 10_000}, "notifications": {"ceo": []}}, id=f"{c.INTERNAL_ID}file-2"
        )
    )
    assert fleet.ledger.outbox == {}


def test_the_outbox_is_bounded_and_what_it_gives_up_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "OUTBOX_MAX", 2)
    fleet = core()
    first, second = raised(fleet, "a"), raised(fleet, "b")
    fleet.given(delivered(first, "ceo", BOSS), use("a", 100))
    failed = fleet.every(e.AlertDeliveryFailed)
    assert [(one.alert, one.to, one.address, one.reason) for one in failed] == [
        (first, "ceo", mark(PHONE), "outbox_full"),
        (first, "ops", mark(CHAT), "outbox_full"),
    ]
    third = fleet.only(e.AlertRaised)
    assert third.code == "budget_exhausted"
    assert list(fleet.ledger.outbox) == [second, third.alert]
    assert fleet.log.index(failed[-1]) < fleet.log.index(third)


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**6)), max_size=30))
def test_what_waits_is_what_was_raised_less_what_was_settled_and_survives_a_snapshot(
    steps: list[tuple[int, int]],
) -> None:
    fleet = Core(c.LoadConfig(config={"total_budget": {"tokens": 10**6}, "notifications": NOTIFIED}))
    expected: dict[str, set[tuple[str, str]]] = {}
    for kind, pick in steps:
        waiting = [(alert, one) for alert, notice in fleet.ledger.outbox.items() for one in notice.owed]
        if kind < 3 or not waiting:
            fleet.given(allocate(f"a-{len(fleet.log)}", 10), use(f"a-{len(fleet.log)}", 10))
            expected[fleet.only(e.AlertRaised).alert] = set(ALL)
        else:
            alert, one = waiting[pick % len(waiting)]
            make = p.RecordDelivery if kind < 5 else p.GiveUpDelivery
            more = {} if kind < 5 else {"attempts": 36}
            fleet.given(make(alert=alert, to=one[0], address=one[1], **more))
            expected[alert].remove(one)
    assert {alert: set(notice.owed) for alert, notice in fleet.ledger.outbox.items()} == {
        alert: owed for alert, owed in expected.items() if owed
    }
    again = snapshot.load(snapshot.dump(fleet.ledger))
    assert again is not None
    assert dump(again) == dump(fleet.ledger)
    assert list(again.outbox) == list(fleet.ledger.outbox)


# --- addresses -------------------------------------------------------------------------------------------------------


def test_an_address_is_filled_in_from_variables_and_called_by_a_mark_that_does_not_depend_on_them() -> None:
    address = "mailto://${TALLYSTICK_USER}:${TALLYSTICK_PASS_1}@example.org"
    assert variables(address) == ["TALLYSTICK_USER", "TALLYSTICK_PASS_1"]
    assert resolved(address, {"TALLYSTICK_USER": "ann", "TALLYSTICK_PASS_1": "s$3"}) == "mailto://ann:s$3@example.org"
    assert mark(address) == mark(address) != mark(f"{address}?")
    assert len(mark(address)) == 12
    with pytest.raises(KeyError, match="PASS_1"):
        resolved(address, {"TALLYSTICK_USER": "ann"})


@pytest.mark.parametrize("name", ["HOME", "AWS_SECRET_ACCESS_KEY", "tallystick_x", "XTALLYSTICK_X"])
def test_a_variable_of_another_program_is_never_filled_in(name: str) -> None:
    assert foreign(f"json://example.org/${{{name}}}") == [name]
    with pytest.raises(KeyError, match=name):
        resolved(f"json://example.org/${{{name}}}", {name: "secret"})


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("json://example.org/hook", False),
        ("JSONS://example.org:8443/a/b", False),
        ("json://example.org/hook?+X-Token=abc", True),
        ("json://user:word@example.org/hook", True),
        ("slack://T/B/C", True),
        ("slack://${TOKENS}", False),
        ("mailto://ann:${PASS}@example.org", False),
        ("nonsense", True),
    ],
)
def test_an_address_that_may_hold_a_secret_is_known_by_its_form(address: str, may: bool) -> None:
    assert may_hold_secret(address) is may


def test_the_addresses_of_a_configuration_are_kept_by_name_and_mark() -> None:
    fleet = core()
    assert list(outbox.addresses(fleet.ledger.rules.config)) == ALL
