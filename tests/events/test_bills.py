"""What came of a provider's bill: kept once, shown, and without any other effect."""

import datetime as dt
from decimal import Decimal

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.snapshot import dump, load
from tallystick.events.messages.bill_replies import Reconciled
from tallystick.events.messages.bill_status import BillStatus
from tallystick.events.state.bills import PROVIDERS_MAX
from tests.support.core import Core, fleet

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 3, 31)


def bill(name: str = "b-1", provider: str = "openai", **named: object) -> c.RecordReconciliation:
    given = {"billed_usd": Decimal("1.5"), "explained_usd": Decimal("1.5"), "reported_usd": Decimal(1), **named}
    return c.RecordReconciliation(**{"bill": name, "provider": provider, "first_day": FIRST, "last_day": LAST, **given})  # type: ignore[arg-type]


@pytest.fixture
def core() -> Core:
    return Core().given(fleet(1_000))


def test_what_came_of_a_bill_is_kept_and_answered_in_parts(core: Core) -> None:
    answer = core.when(bill(short=["bob"]))
    status = BillStatus("b-1", "2026-03-01", "2026-03-31", "1.50", coverage=1.0, reported=0.666666)
    assert answer == Reconciled("openai", status)
    event = core.only(e.BillReconciled)
    assert (event.billed_nanos, event.reported_nanos, event.short) == (1_500_000_000, 1_000_000_000, ["bob"])
    shown = core.when(c.GetGlobalStatus())
    assert shown.bills == {"openai": status}


def test_the_same_bill_is_kept_once_and_says_what_it_said_first(core: Core) -> None:
    first = core.when(bill())
    again = core.when(bill(reported_usd=Decimal("1.5")))
    assert (again.recorded, again.status) == (False, first.status)


def test_another_bill_of_the_provider_takes_its_place_and_one_of_another_stands_beside_it(core: Core) -> None:
    core.given(bill(), bill("b-2", "anthropic"), bill("b-3"))
    assert {provider: one.bill for provider, one in core.ledger.bills.items()} == {"anthropic": "b-2", "openai": "b-3"}


def test_of_many_providers_the_one_recorded_longest_ago_is_forgotten(core: Core) -> None:
    for number in range(PROVIDERS_MAX + 1):
        core.given(bill(f"b-{number}", f"p-{number}"))
    assert len(core.ledger.bills) == PROVIDERS_MAX
    assert "p-0" not in core.ledger.bills


def test_a_bill_changes_no_balance(core: Core) -> None:
    before = (core.ledger.consumed, core.ledger.pool)
    core.when(bill())
    assert (core.ledger.consumed, core.ledger.pool) == before


def test_a_bill_of_nothing_is_explained() -> None:
    nothing = Decimal(0)
    answer = Core().given(fleet(9)).when(bill(billed_usd=nothing, explained_usd=nothing, reported_usd=nothing))
    assert (answer.status.coverage, answer.status.reported) == (1.0, 1.0)


@pytest.mark.parametrize("field", ["explained_usd", "reported_usd"])
def test_a_part_is_not_more_than_the_whole(core: Core, field: str) -> None:
    refusal = core.when(bill(**{field: Decimal(2)}))
    core.then_refused("invalid_amount")
    assert refusal.detail == f"{field}: found 2.00, allowed is at most billed_usd, 1.50"


def test_days_end_after_they_begin(core: Core) -> None:
    core.when(bill(last_day=dt.date(2026, 2, 28)))
    core.then_refused("invalid_message")


def test_a_snapshot_has_the_bills(core: Core) -> None:
    core.given(bill(), bill("b-2", "anthropic"))
    again = load(dump(core.ledger))
    assert again is not None
    assert list(again.bills.items()) == list(core.ledger.bills.items())
