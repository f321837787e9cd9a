"""Trees of accounts behave equally whatever their shape: depth, width, order of release, a restart in the middle."""

from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, budget, dump, fleet
from tests.support.examples import examples
from tests.support.trees import grown, levels_are_right, parents

CHANCE = settings(max_examples=examples(40), deadline=None, derandomize=True, print_blob=False)


def chain(core: Core, n: int) -> Core:
    for number in range(n):
        parent = f"a{number - 1}" if number else None
        core.given(c.AllocateBudget(agent=f"a{number}", parent=parent, budget=budget(10_000 - number)))
    return core


def restarted(core: Core) -> None:
    """The same fleet from a snapshot."""
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert dump(loaded) == dump(core.ledger)
    core.ledger = loaded


def life(core: Core, dice: Random, n: int) -> None:
    """Usage, holds and orders at random, the same for equal dice."""
    names = [f"a{number}" for number in range(n)]
    for step in range(3 * n):
        name, units = dice.choice(names), dice.choice((1, 50, 500, 20_000))
        match dice.randrange(7):
            case 0 | 1:
                core.when(c.ReportUsage(agent=name, usage=budget(units)))
            case 2:
                core.when(c.ReportUsage(agent=name, usage=budget(cost="0.5")))
            case 3:
                core.when(c.Reserve(agent=name, estimate=budget(min(units, 50)), ttl_seconds=Decimal(7)), id=f"h{step}")
            case 4:
                core.when(c.Settle(hold=f"h{dice.randrange(step + 1)}", usage=budget(units)))
            case 5:
                core.when(c.Throttle(agent=name, rate=Decimal("0.5")))
                core.when(c.Resume(agent=name))
            case 6:
                core.wait(dice.choice((0, 3, 8)))
        levels_are_right(core)


@CHANCE
@given(st.randoms(use_true_random=False), st.sampled_from(["chain", "fan", "any"]), st.integers(2, 14))
def test_a_tree_of_any_shape_is_conserved_and_gives_all_back(dice: Random, shape: str, n: int) -> None:
    core = Core(fleet(tokens=1_000_000, cost="1000"))
    tree = parents(dice, shape, n)
    grown(core, tree)
    life(core, dice, n)
    restarted(core)
    for number in dice.sample(range(n), n):
        core.when(c.ReleaseBudget(agent=f"a{number}"))
        levels_are_right(core)
    assert core.ledger.accounts == {}
    assert core.ledger.holds == {}
    root = core.ledger.root
    assert root.free[0] == 1_000_000 - core.ledger.consumed[0]
    assert (root.cover, root.delegated, root.held) == ((0, 0, 0), (0, 0, 0), (0, 0, 0))


@CHANCE
@given(st.randoms(use_true_random=False), st.integers(2, 12))
def test_what_was_used_and_is_left_at_the_end_does_not_depend_on_the_shape(dice: Random, n: int) -> None:
    seed = dice.randrange(2**32)
    ends = set()
    for shape in ("chain", "fan", "any"):
        core = Core(fleet(tokens=1_000_000, cost="1000"), compares=False)
        grown(core, parents(Random(seed), shape, n))
        choose = Random(seed)
        for _ in range(3 * n):
            usage = budget(choose.choice((1, 50, 500, 20_000)))
            core.when(c.ReportUsage(agent=f"a{choose.randrange(n)}", usage=usage))
        core.when(c.ReleaseBudget(agent="a0"))
        ends.add((core.ledger.consumed, core.ledger.root.free, core.ledger.root.cover))
    assert len(ends) == 1


def test_a_covered_chain_is_released_in_as_many_steps_as_it_has_accounts() -> None:
    counts = {}
    for n in (100, 200):
        core = chain(Core(fleet(tokens=1_000_000), compares=False), n)
        for number in range(n):
            core.given(c.Reserve(agent=f"a{number}", estimate=budget(1)))
        core.when(c.ReportUsage(agent=f"a{n - 1}", usage=budget(50_000)))
        core.when(c.ReleaseBudget(agent="a0"))
        counts[n] = len(core.decided.events)
    assert counts[200] <= 2 * counts[100] + 10


def test_an_order_reaches_the_deepest_account_at_once_and_ends_at_once() -> None:
    core = chain(Core(fleet(tokens=1_000_000)), 60)
    for order, action in (
        (c.Stop(agent="a0", reason="enough"), "stop"),
        (c.Resume(agent="a0"), "continue"),
        (c.Throttle(agent="a30", rate=Decimal("0.25")), "throttle"),
        (c.Throttle(agent="a10", rate=Decimal("0.5")), "throttle"),
        (c.Resume(agent="a30"), "throttle"),
    ):
        core.given(order)
        answer = core.when(c.CheckEnforcement(agent="a59"))
        assert answer.action == action, order
    assert answer.throttle_rate == 0.5
    core.given(c.ReleaseBudget(agent="a59"), c.AllocateBudget(agent="a59", budget=budget(5)))
    assert core.when(c.CheckEnforcement(agent="a59")).action == "continue"


def test_the_deepest_report_records_one_event_where_nothing_is_covered() -> None:
    core = chain(Core(fleet(tokens=1_000_000), compares=False), 300)
    core.given(c.ReportUsage(agent="a299", usage=budget(1)))
    core.then_events(e.UsageReported)
