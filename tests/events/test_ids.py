"""The memory of ids, of ended holds and of released accounts: bounded in number and in hours."""

import pytest

from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, fleet, hold, settle, use

HOUR = 3_600


def remembered(core: Core) -> list[str]:
    return list(core.ledger.ids)


def test_an_id_points_to_the_first_event_of_its_command() -> None:
    core = Core()
    core.when(fleet(1_000), id="a")
    core.when(allocate("ann", 100), id="b")
    core.when(use("ann", 80), id="c")
    core.when(use("ann", 1), id="d")
    assert core.ledger.ids == {"a": 1, "b": 3, "c": 4, "d": 6}


def test_a_refusal_is_remembered_a_query_and_a_malformed_message_are_not() -> None:
    core = Core(fleet(1_000))
    core.when(allocate("ann", 5_000), id="refused")
    core.when(allocate("ann", -5), id="malformed")
    core.when(c.GetGlobalStatus(), id="query")
    core.when(p.TellQueue(waiting=[]), id="tick")
    assert remembered(core) == ["id-1", "refused"]


def test_at_most_so_many_ids_are_remembered() -> None:
    core = Core(fleet(1_000, idempotency_ids_max=3))
    for number in range(5):
        core.when(use("ann", 1), id=f"u{number}")
    assert remembered(core) == ["u2", "u3", "u4"]


def test_ids_are_remembered_for_so_many_hours_and_never_for_less() -> None:
    core = Core(fleet(1_000, idempotency_hours=2))
    core.when(use("ann", 1), id="early")
    core.wait(2 * HOUR - 60).when(use("ann", 1), id="middle")
    core.wait(59).when(use("ann", 1), id="late")
    assert "early" in remembered(core)
    core.wait(62).when(use("ann", 1), id="later")
    core.wait(60).when(use("ann", 1), id="last")
    assert remembered(core) == ["middle", "late", "later", "last"]


def test_a_burst_within_a_minute_is_forgotten_together() -> None:
    core = Core(fleet(1_000, idempotency_hours=1))
    for number in range(10):
        core.wait(5).when(use("ann", 1), id=f"u{number}")
    core.wait(HOUR + 120).when(use("ann", 1), id="x")
    core.wait(61).when(use("ann", 1), id="y")
    assert remembered(core) == ["x", "y"]


def test_a_smaller_memory_forgets_in_time() -> None:
    core = Core(fleet(1_000), *(use("ann", 1) for _ in range(10)), fleet(1_000, idempotency_ids_max=2))
    core.wait(61).given(use("ann", 1))
    assert len(remembered(core)) == 2


def test_an_ended_hold_is_forgotten_with_the_ids_of_its_time() -> None:
    core = Core(fleet(1_000, idempotency_hours=1), allocate("ann", 100), hold("ann", "h", 10), settle("h", 5))
    core.wait(HOUR - 1).when(settle("h", 5))
    core.then_refused("already_settled")
    core.wait(HOUR).given(use("ann", 1)).wait(61).given(use("ann", 1))
    core.when(settle("h", 5))
    core.then_refused("unknown_hold")


def test_a_released_account_is_forgotten_with_the_ids_of_its_time_if_many_were_released_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tallystick.events.state.ledger.LATE_KEPT", 0)
    core = Core(fleet(1_000, idempotency_hours=1), allocate("ann", 100), c.ReleaseBudget(agent="ann"))
    assert core.wait(HOUR - 1).when(use("ann", 1)).late is True
    core.wait(HOUR).given(use("bob", 1)).wait(61).given(use("bob", 1))
    assert core.when(use("ann", 1)).unallocated is True


def test_an_account_that_was_opened_again_is_not_forgotten_for_its_first_release() -> None:
    core = Core(fleet(1_000, idempotency_hours=1), allocate("ann", 100), c.ReleaseBudget(agent="ann"))
    core.wait(HOUR - 10).given(allocate("ann", 50), c.ReleaseBudget(agent="ann"))
    core.wait(HOUR - 10).given(use("bob", 1))
    assert core.when(use("ann", 1)).late is True
