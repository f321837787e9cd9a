"""Bills of a generated fleet, with faults of known kinds: each is found and named, and the books become equal."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import dollars
from tallystick.events.log.store_memory import MemoryStore
from tallystick.fleet import Fleet
from tallystick.projections.reports.breakdown import Days, breakdown
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.reconcile.books import MATCHED, Books
from tallystick.reconcile.orders import messages_of
from tallystick.reconcile.running import Reconciliation, reconcile
from tests.support.bills import FORMS, KINDS, RULES, World, entangled, report, seeded, written

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
CASES = [(form, kind) for form in FORMS for kind in KINDS]
few = settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))


class Fleets:
    """A fleet to which agents have reported, and the bill beside it."""

    def __init__(self, folder: Path, form: str, world: World) -> None:
        self.store, self.world = MemoryStore(), world
        self.fleet = Fleet.open(self.store)
        report(self.fleet, world.reported)
        self.files = written(folder, FORMS[form][1](world))

    @contextmanager
    def reconciled(self) -> Iterator[Reconciliation]:
        with closing(Books()) as books:
            yield reconcile(self.files, None, self.store.read(), RULES, books, NOW)

    def apply(self) -> int:
        """Do what is to be done; how many messages that took."""
        with self.reconciled() as found:
            messages = list(messages_of(found, NOW))
        answers = self.fleet.ask(messages) if messages else []
        assert all("ok" in answer for answer in answers), answers
        return len(messages)

    def cost(self, *by: str) -> dict[tuple[str | None, ...], str]:
        """What the views say that was spent, exactly."""
        views = MemoryViewStore()
        catch_up(self.store, views)
        return {tuple(line.by.values()): line.cost_usd for line in breakdown(views, by, None, Days(), "UTC", {})}


@contextmanager
def fleets(form: str, seed: int, kinds: tuple[str, ...] = KINDS, calls_each: int = 4) -> Iterator[Fleets]:
    provider, _, by_sums = FORMS[form]
    with TemporaryDirectory() as folder:
        made = Fleets(Path(folder), form, seeded(seed, provider, kinds, by_sums=by_sums, calls_each=calls_each))
        try:
            yield made
        finally:
            made.fleet.close()


def causes(found: Reconciliation) -> set[str]:
    return {one.cause for one in found.sums if one.cause}


@pytest.mark.parametrize("form", FORMS)
@few
@given(seed=st.integers(0, 10**9))
def test_faults_of_all_kinds_are_found_and_named_and_the_books_become_equal_to_the_bill(form: str, seed: int) -> None:
    with fleets(form, seed) as made:
        total = sum(call.cost for call in made.world.billed)
        with made.reconciled() as found:
            assert causes(found) == {kind for kind, _ in made.world.faults}
            assert found.billed == total
            assert found.explained >= total * 999 // 1_000
        assert made.apply() > 1
        assert made.cost() == {(): dollars(total)}
        with made.reconciled() as again:
            assert {one.status for one in again.sums} == {MATCHED}
            assert (again.billed, again.reported) == (total, total)
        assert made.apply() == 0


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_a_fault_is_found_where_it_is_and_nothing_else(form: str, kind: str) -> None:
    with fleets(form, 11, (kind,), 4 if kind == "time_zone" else 1) as made, made.reconciled() as found:
        assert causes(found) == {kind}
        day = made.world.faults[0][1]
        if kind == "time_zone":
            hours = made.world.zone_hours
            assert found.zone == f"UTC{'-' if hours < 0 else '+'}{abs(hours):02}:00"
            assert {one.status for one in found.sums} == {MATCHED}
        else:
            assert {one.day for one in found.books.found("cause != ''")} == {day}


def test_without_a_fault_everything_matches_in_every_format() -> None:
    for form in FORMS:
        with fleets(form, 5, (), calls_each=1) as made, made.reconciled() as found:
            assert [(one.status, one.cause) for one in found.sums] == [(MATCHED, "")], form
            assert next(messages_of(found, NOW))["type"] == "RecordReconciliation"


def test_calls_without_an_id_in_common_are_found_by_their_figures() -> None:
    world = seeded(3, "openai")
    with TemporaryDirectory() as folder:
        made = Fleets.__new__(Fleets)
        made.store, made.world = MemoryStore(), world
        made.fleet = Fleet.open(made.store)
        report(made.fleet, world.reported, with_ids=False)
        made.files = written(Path(folder), FORMS["litellm"][1](world))
        with made.reconciled() as found:
            assert causes(found) == set(KINDS)
        made.apply()
        assert made.cost() == {(): dollars(sum(call.cost for call in world.billed))}
        assert made.apply() == 0
        made.fleet.close()


SPELLINGS = [
    ("gpt-4o-2024-08-06", "gpt-4o"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
    ("anthropic/claude-haiku-4.5", "claude-haiku-4-5-20251001"),
]


@pytest.mark.parametrize(("billed", "reported"), SPELLINGS)
def test_a_model_is_the_same_however_its_name_is_written(billed: str, reported: str) -> None:
    world = seeded(5, "openai", (), calls_each=1)
    model = world.billed[0].model
    world.billed = [replace(call, model=billed) for call in world.billed if call.model == model]
    world.reported = [replace(call, model=reported) for call in world.reported if call.model == model]
    for form in ("openai", "openrouter"):
        with TemporaryDirectory() as folder:
            made = Fleets(Path(folder), form, world)
            with made.reconciled() as found:
                assert [(one.status, one.cause) for one in found.sums] == [(MATCHED, "")]
            made.fleet.close()


def test_the_models_of_the_books_are_those_of_the_bill() -> None:
    with fleets("openai", 4) as made:
        made.apply()
        billed: dict[tuple[str | None, ...], int] = {}
        for call in made.world.billed:
            billed[call.model,] = billed.get((call.model,), 0) + call.cost
        assert made.cost("model") == {name: dollars(nanos) for name, nanos in billed.items()}


def test_an_agent_that_falls_short_again_and_again_is_named() -> None:
    world = seeded(2, "openai", ())
    missing = {call.id for call in world.reported if call.agent == "bob" and call.id.endswith("-0")}
    world.reported = [call for call in world.reported if call.id not in missing]
    for form in ("openai", "openrouter"):
        with TemporaryDirectory() as folder:
            made = Fleets(Path(folder), form, world)
            with made.reconciled() as found:
                [short] = found.short
                assert (short.agent, short.days, short.again) == ("bob", 10, True)
                assert short.missing == sum(call.cost for call in world.billed if call.id in missing)
            made.fleet.close()


def test_a_later_bill_of_the_same_days_changes_what_was_booked_before() -> None:
    first = seeded(8, "openai", ("never_reported",), by_sums=True)
    with TemporaryDirectory() as folder:
        made = Fleets(Path(folder), "openai", first)
        made.apply()
        late = next(call for call in first.billed if call not in first.reported)
        report(made.fleet, [late])
        made.apply()
        assert made.cost() == {(): dollars(sum(call.cost for call in first.billed))}
        assert made.apply() == 0
        made.fleet.close()


@pytest.mark.parametrize("form", ["openai", "anthropic"])
@pytest.mark.parametrize("late", [1, 3, None], ids=["one late", "three late", "all late"])
def test_what_was_booked_is_taken_back_and_no_agents_report_where_an_agent_reports_it_later(
    form: str, late: int | None
) -> None:
    world = seeded(8, form, (), by_sums=True)
    calls = world.billed[:late]
    with TemporaryDirectory() as folder:
        world.reported = [call for call in world.reported if call not in calls]
        made = Fleets(Path(folder), form, world)
        made.apply()
        report(made.fleet, calls)
        made.apply()
        by_agent: dict[tuple[str | None, ...], int] = defaultdict(int)
        for call in world.billed:
            by_agent[call.agent,] += call.cost
        costs = {agent: cost for agent, cost in made.cost("agent").items() if cost != "0.00"}
        assert costs == {agent: dollars(cost) for agent, cost in by_agent.items()}
        assert made.apply() == 0
        made.fleet.close()


def test_of_what_was_booked_the_part_stays_that_no_agent_has_reported_at_its_own_price() -> None:
    world = seeded(8, "anthropic", (), by_sums=True)
    one, other = [
        call for call in world.billed if (call.day, call.model) == (world.billed[0].day, world.billed[0].model)
    ][:2]
    world.reported = [call for call in world.reported if call not in (one, other)]
    with TemporaryDirectory() as folder:
        made = Fleets(Path(folder), "anthropic", world)
        made.apply()
        before = made.cost("agent")["unattributed",]
        report(made.fleet, [one])
        made.apply()
        after = made.cost("agent")
        assert (before, after["unattributed",]) == (dollars(one.cost + other.cost), dollars(other.cost))
        assert made.apply() == 0
        made.fleet.close()


@pytest.mark.parametrize("form", FORMS)
@few
@given(seed=st.integers(0, 10**9))
def test_however_faults_are_entangled_the_books_become_equal_to_the_bill(form: str, seed: int) -> None:
    world = entangled(seed, FORMS[form][0])
    total = sum(call.cost for call in world.billed)
    with TemporaryDirectory() as folder:
        made = Fleets(Path(folder), form, world)
        with made.reconciled() as found:
            assert found.billed == total
            assert found.reported <= found.billed
        made.apply()
        assert made.cost() == {(): dollars(total)}
        with made.reconciled() as again:
            assert {one.status for one in again.sums} == {MATCHED}
        assert made.apply() == 0
        made.fleet.close()


@pytest.mark.parametrize("form", FORMS)
def test_exports_that_overlap_count_once(form: str, tmp_path: Path) -> None:
    provider, write, by_sums = FORMS[form]
    world = seeded(9, provider, ("duplicated",), by_sums=by_sums, calls_each=1)
    days = sorted({call.day for call in world.billed})
    made = Fleets(tmp_path, form, world)
    made.files = []
    for name, part in (("first", days[:7]), ("second", days[4:])):
        (tmp_path / name).mkdir()
        of_them = replace(world, billed=[call for call in world.billed if call.day in part])
        made.files += written(tmp_path / name, write(of_them))
    with made.reconciled() as found:
        assert (found.billed, causes(found)) == (sum(call.cost for call in world.billed), {"duplicated"})
        assert found.left_out["said again in another file"] > 0
    made.fleet.close()
