"""Explains reports of usage and holds."""

from tallystick.config.amounts import Triple, dollars
from tallystick.config.price import ModelPrice, Tier
from tallystick.events import catalog as e
from tallystick.events.state.accounts import ROOT
from tallystick.events.state.ledger import Ledger
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style, only
from tallystick.wording import amounts


def _says_reported(event: e.UsageReported, say: Style) -> str:
    text = f"{event.agent} reported {say.used(event)}"
    if event.operation is not None:
        text += f" for {event.operation}"
    if event.model is not None:
        text += f" on {event.model}"
    if event.unpriced:
        text += f", which has no price: charged as {event.priced_as}"
    if event.hold is not None:
        text += f", settling hold {event.hold} after its end"
    elif event.late:
        text += ", after its release"
    if event.life is not None and event.hold is not None:
        text += f", by the account that was opened at position {event.life}"
    if event.unallocated:
        text += ", without an allocation"
    if event.charged is not None:
        text += f", charged to {event.charged}"
    return text + _sourced(event, say) + _labelled(event) + _because(event) + _overdrawn(event) + _repaired(event)


def _why_reported(event: e.UsageReported, ledger: Ledger, history: History) -> list[str]:
    lines = _price_of(event, ledger, history)
    account = None if event.account is None else ledger.accounts.get(event.account)
    if account is not None:
        lines.append(f"{amounts(account.remaining_all())} of {amounts(account.allocated)} remain")
    return lines


def _price_of(event: "e.UsageReported | e.HoldSettled | e.HoldPlaced", ledger: Ledger, history: History) -> list[str]:
    """At which price usage was charged, or held for; nothing where it brought its own cost."""
    if event.priced_as is None:
        return []
    prices, (_, provider) = ledger.rules.prices, ledger.rules.catalogued.get(event.model or "", ("", None))
    found = prices.find(event.priced_as, provider)
    if found is None or prices.label(found) != event.priced_as:
        found = prices.find(event.priced_as) or found
    if found is None:
        return []
    price: ModelPrice | Tier = found.price
    if not event.base_tier and not isinstance(event, e.HoldPlaced):
        parts = (event.input_tokens, event.output_tokens)
        price = found.price.at(event.tokens if parts == (None, None) else event.input_tokens or 0)
    source = "prices.yml" if found.written else prices.published.source
    return [
        (
            f"priced as {event.priced_as}: ${dollars(price.input)} per million input tokens,"
            f" ${dollars(price.output)} output ({source}{history.since(e.PricesLoaded)})"
            f"{', the base tier: it is the total of several requests' if event.base_tier else ''}"
        )
    ]


def _why_held(event: e.HoldPlaced, ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    lines = _price_of(event, ledger, history)
    for d, units in enumerate(event.amount.triple):
        payer = account.payers[d]
        if units and payer.allocated[d] is not None:
            whose = "" if payer is account else f" in {'the pool' if payer.id == ROOT else payer.id}"
            lines.append(f"asked for: {only(d, units)}; free{whose}: {only(d, payer.free[d] + units)}")
    return lines


def _says_ended(event: e.HoldEnded, say: Style) -> str:
    how = {
        "expired": "expired: it was not settled in time",
        "cancelled": "was cancelled",
        "released": "was given back with the release of its account",
        "settled": f"was settled: what it used is recorded at {event.recorded_position}, from the same source",
    }
    because = "" if event.reason is None else f": {event.reason}"
    return f"hold {event.hold} of {event.agent} {how[event.how]}{because}"


def _says_spent(event: e.HoldSpent, say: Style) -> str:
    return f"hold {event.hold} of {event.agent} was not settled in time: {say.used(event)} counts as used"


def _says_placed(event: e.HoldPlaced, say: Style) -> str:
    what = "" if event.operation is None else f", for {event.operation}"
    held = f"{event.agent} reserved {say.amounts(event.amount)} in hold {event.hold}"
    spends = ", whose expiry counts as used" if event.spends else ""
    return f"{held}, until {say.time(event.expires_at)}{spends}{what}{_labelled(event)}{_because(event)}"


def _says_extended(event: e.HoldExtended, say: Style) -> str:
    more = "" if event.amount is None else f" and has {say.amounts(event.amount)} more"
    return f"hold {event.hold} of {event.agent} now lasts until {say.time(event.expires_at)}{more}"


def _says_settled(event: e.HoldSettled, say: Style) -> str:
    what = "booked a part of" if event.partial else "settled"
    text = f"{event.agent} {what} hold {event.hold}: {say.used(event)} used" + _labelled(event) + _because(event)
    return text + _sourced(event, say) + _overdrawn(event) + _repaired(event)


def _overdrawn(event: "e.UsageReported | e.HoldSettled") -> str:
    if event.overdrawn is None:
        return ""
    return f", charged to the fleet: {event.overdrawn} is beyond its overdraft_max"


def _repaired(event: "e.UsageReported | e.HoldSettled") -> str:
    return "; a misspelled name in it was repaired" if event.repaired else ""


def _labelled(event: "e.HoldPlaced | e.HoldSettled | e.UsageReported") -> str:
    labels = ", ".join(f"{key}={value}" for key, value in (event.labels or {}).items())
    return f", labelled {labels}" if labels else ""


def _sourced(event: "e.HoldSettled | e.UsageReported", say: Style) -> str:
    text = "" if event.source_id is None else f", from the source {event.source_id}"
    if event.occurred_at is not None:
        text += f", used at {say.time(event.occurred_at)}"
    return f"{text}: before the period, so that nothing is charged" if event.history else text


def _because(event: "e.HoldPlaced | e.HoldSettled | e.UsageReported") -> str:
    return "" if event.reason is None else f" ({event.reason})"


def _says_corrected(event: e.UsageCorrected, say: Style) -> str:
    before, after = (say.triple(_named(event.counted, event.counts, said)) for said in (event.counted, event.counts))
    text = f"what {event.agent} used at position {event.record.position} counts as {after} and no longer as {before}"
    if event.model_after is not None:
        text += f", on {event.model_after}"
    if event.counts.unpriced:
        text += f", which has no price: charged as {event.counts.priced_as}"
    if event.charged is not None and event.charged != event.agent:
        text += f", charged to {event.charged}"
    return f"{text}: {event.reason}"


def _named(before: e.Said, after: e.Said, said: e.Said) -> Triple:
    """What was used in the dimensions in which there is or was something."""
    first, second, third = (
        units if any((one, other)) else None
        for one, other, units in zip(before.units, after.units, said.units, strict=True)
    )
    return (first, second, third)


def _why_corrected(event: e.UsageCorrected, ledger: Ledger, history: History) -> list[str]:
    lines = [f"it counts on {event.day}, the day of its record"]
    if event.repeats:
        lines.append(f"{event.by} reported the source {event.source_id} again, with more than before")
    if event.counts.priced_as is not None:
        lines.append(f"priced as {event.counts.priced_as} by the price list{history.since(e.PricesLoaded)}")
    if event.closed is not None:
        payer = "the fleet" if event.charged is None else event.charged
        lines.append(f"the account of {event.closed} that was charged is released: {payer} pays, as for a late report")
    if event.closed_period:
        lines.append("its period is closed: opening and total of the budget move with it")
    return lines


def _its_record(event: e.UsageCorrected, ledger: Ledger, history: History) -> list[int | None]:
    return [event.record.position, ledger.corrections.get(event.record.position)]


def _its_hold(
    event: "e.HoldSettled | e.HoldEnded | e.HoldExtended | e.UsageReported", ledger: Ledger, history: History
) -> list[int | None]:
    """A hold's id is that of the Reserve that made it, and the first event of that is the hold."""
    return [] if event.hold is None else [ledger.ids.get(event.hold)]


ROWS: Rows = {
    e.UsageReported: Row(_says_reported, _why_reported, also=_its_hold),
    e.HoldPlaced: Row(
        _says_placed,
        _why_held,
        after=(e.BudgetAllocated,),
    ),
    e.HoldExtended: Row(_says_extended, also=_its_hold),
    e.HoldSettled: Row(_says_settled, _price_of, also=_its_hold),
    e.HoldSpent: Row(_says_spent, "the provider may have billed it: a late settlement replaces it", also=_its_hold),
    e.HoldEnded: Row(_says_ended, also=_its_hold),
    e.UsageCorrected: Row(_says_corrected, _why_corrected, also=_its_record),
    e.AgentHeard: Row(lambda x, say: f"{x.agent} sent a heartbeat"),
}
