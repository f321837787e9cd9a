"""The memory of ids, of ended holds and of released accounts: bounded in number and in hours."""

from tallystick.events import commands as c
from tallystick.events import proposals as p
from tests.law import Law, allocate, fleet, hold, settle, use

HOUR = 3_600


def remembered(law: Law) -> list[str]:
    assert list(law.ledger.ids) == list(law.ledger.id_order)
    return list(law.ledger.ids)


def test_an_id_points_to_the_first_event_of_its_command() -> None:
    law = Law()
    law.when(fleet(1_000), id="a")
    law.when(allocate("ann", 100), id="b")
    law.when(use("ann", 80), id="c")
    law.when(use("ann", 1), id="d")
    assert law.ledger.ids == {"a": 1, "b": 3, "c": 4, "d": 6}


def test_a_refusal_is_remembered_a_query_and_a_malformed_message_are_not() -> None:
    law = Law(fleet(1_000))
    law.when(allocate("ann", 5_000), id="refused")
    law.when(allocate("ann", -5), id="malformed")
    law.when(c.GetGlobalStatus(), id="query")
    law.when(p.ExpireHolds(), id="tick")
    assert remembered(law) == ["id-1", "refused"]


def test_at_most_so_many_ids_are_remembered() -> None:
    law = Law(fleet(1_000, idempotency_ids_max=3))
    for number in range(5):
        law.when(use("ann", 1), id=f"u{number}")
    assert remembered(law) == ["u2", "u3", "u4"]


def test_ids_are_remembered_for_so_many_hours_and_never_for_less() -> None:
    law = Law(fleet(1_000, idempotency_hours=2))
    law.when(use("ann", 1), id="early")
    law.wait(2 * HOUR - 60).when(use("ann", 1), id="middle")
    law.wait(59).when(use("ann", 1), id="late")
    assert "early" in remembered(law)
    law.wait(62).when(use("ann", 1), id="later")
    law.wait(60).when(use("ann", 1), id="last")
    assert remembered(law) == ["middle", "late", "later", "last"]


def test_a_burst_within_a_minute_is_forgotten_together() -> None:
    law = Law(fleet(1_000, idempotency_hours=1))
    for number in range(10):
        law.wait(5).when(use("ann", 1), id=f"u{number}")
    law.wait(HOUR + 120).when(use("ann", 1), id="x")
    law.wait(61).when(use("ann", 1), id="y")
    assert remembered(law) == ["x", "y"]


def test_a_smaller_memory_forgets_in_time() -> None:
    law = Law(fleet(1_000), *(use("ann", 1) for _ in range(10)), fleet(1_000, idempotency_ids_max=2))
    law.wait(61).given(use("ann", 1))
    assert len(remembered(law)) == 2


def test_an_ended_hold_is_forgotten_with_the_ids_of_its_time() -> None:
    law = Law(fleet(1_000, idempotency_hours=1), allocate("ann", 100), hold("ann", "h", 10), settle("h", 5))
    law.wait(HOUR - 1).when(settle("h", 5))
    law.then_refused("already_settled")
    law.wait(HOUR).given(use("ann", 1)).wait(61).given(use("ann", 1))
    law.when(settle("h", 5))
    law.then_refused("unknown_hold")


def test_a_released_account_is_forgotten_with_the_ids_of_its_time() -> None:
    law = Law(fleet(1_000, idempotency_hours=1), allocate("ann", 100), c.ReleaseBudget(agent="ann"))
    assert law.wait(HOUR - 1).when(use("ann", 1)).late is True
    law.wait(HOUR).given(use("bob", 1)).wait(61).given(use("bob", 1))
    assert law.when(use("ann", 1)).unallocated is True


def test_an_account_that_was_opened_again_is_not_forgotten_for_its_first_release() -> None:
    law = Law(fleet(1_000, idempotency_hours=1), allocate("ann", 100), c.ReleaseBudget(agent="ann"))
    law.wait(HOUR - 10).given(allocate("ann", 50), c.ReleaseBudget(agent="ann"))
    law.wait(HOUR - 10).given(use("bob", 1))
    assert law.when(use("ann", 1)).late is True
