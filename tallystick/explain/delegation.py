"""Explains what happens between a fleet and its parent, at either end."""

from tallystick.events import catalog as e
from tallystick.events.state.delegation import NOT_ASKED
from tallystick.events.state.ledger import Ledger
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style
from tallystick.wording import amounts


def _says_answered(event: e.ParentAnswered, say: Style) -> str:
    if event.stopped == NOT_ASKED:
        return "this fleet was opened: nothing may go on before its parent has answered"
    said = []
    if event.granted is not None:
        said.append(f"it has granted {say.amounts(event.granted)} in all")
    if event.settled:
        more = "" if event.granted is not None else " and nothing more was granted"
        said.append(f"draw or return {event.settled} is settled{more}")
    if event.booked:
        said.append(f"what was used is booked there up to position {event.booked:,}")
    said.append("this fleet may go on" if event.stopped is None else f"nothing may go on: {event.stopped}")
    return f"the parent answered: {', '.join(said)}"


def _why_answered(event: e.ParentAnswered, ledger: Ledger, history: History) -> list[str]:
    own = ledger.delegation
    if own is None or own.granted is None:
        return ["before the parent has answered, this fleet has nothing to grant"]
    back = amounts(own.returned)
    return [f"the total is what was granted in all less the {back} that this fleet gave back: {amounts(own.total)}"]


def _why_drawn(event: e.DrawAsked, ledger: Ledger, history: History) -> list[str]:
    settings = ledger.rules.config.delegate
    kept = "nothing" if settings is None else amounts(settings.budget.amounts)
    since = history.since(e.ConfigLoaded)
    return [f"the pool has {amounts(ledger.pool)}; {kept} is kept at hand (delegate.budget{since})"]


ROWS: Rows = {
    e.ChildBound: Row(
        lambda x, say: f"{x.agent} became the total of the fleet {x.fleet}",
        "from here on that fleet alone takes from the account",
        after=(e.BudgetAllocated,),
    ),
    e.DrawAsked: Row(
        lambda x, say: f"draw {x.number}: the parent will be asked for {say.amounts(x.amount)} more",
        _why_drawn,
    ),
    e.ReturnAsked: Row(
        lambda x, say: f"return {x.number}: {say.amounts(x.amount)} goes back to the parent",
        "the total is lower from here on, before the parent knows: what is on its way can be granted nowhere twice",
    ),
    e.RangeReported: Row(
        lambda x, say: (
            f"{say.amounts(x.amount)} was used between the positions {x.first:,} and {x.upto:,}, and is reported"
        ),
        "the parent books each position of this log once, whatever is sent twice",
    ),
    e.ParentAnswered: Row(_says_answered, _why_answered),
    e.DelegationEnded: Row(
        lambda x, say: "this fleet was closed: what is left goes back to its parent",
        "nothing is granted any more; the parent releases the account when all that was used is booked there",
    ),
}
