"""Usage that is recorded under a source already: it is not recorded again, but a larger figure replaces a smaller one.

A figure is larger by dimension, in which it is more than all that its source has said, and than what counts: so the
order in which several report the same, each as far as it knows, makes no difference. Tokens are replaced together with
their kinds and their model, a cost together with how it was priced.
"""

from typing import Any

from msgspec.structs import replace

from tallystick.config.amounts import COST, DIMENSIONS, TIME, TOKENS, Amounts, InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import enforcement
from tallystick.events.decide.corrections import book_correction, correction, finder, most_said
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Enforcement, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.money import Money
from tallystick.events.state.paid_records import Forgotten, Paid, paid
from tallystick.events.state.remembered import Closed
from tallystick.events.state.rules import Rules

LARGER = "a larger figure of the same source"
_Record = e.UsageReported | e.HoldSettled
_KINDS = (
    *("tokens", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
)
_PRICE = ("cost_nanos", "priced_as", "unpriced", "base_tier")


def is_larger(rules: Rules, asked: c.Sourced, record: _Record, last: e.UsageCorrected | None) -> bool:
    """Whether a message says more than what is recorded of its source: then more is to be known of the record."""
    try:
        priced = pricing.price(rules, asked)
    except InvalidAmount:
        return False
    units = (priced.tokens or 0, priced.time_ms or 0, priced.cost_nanos or 0)
    return any(_larger(units, record, last))


def repeat(
    turn: Turn, known: p.ApplySource, event: _Record, account: Account | None, closed: Closed | None
) -> Enforcement:
    """Let what a message says count as far as it is more than what counts; the answer is for who sent it.

    ``event`` is as it would be recorded if its source were new, ``account`` and ``closed`` are those of its agent.
    """
    record, last = known.record, known.last
    counts = e.Said.by(record) if last is None else last.counts
    new = e.Said.by(event)
    larger = _larger(new.units, record, last)
    if any(larger):
        counts = _merged(counts, new, larger)
        _replace(turn, known, counts, new.units)
    ratio = 0.0 if account is None else account.ratio()
    answer = enforcement(turn, event.agent, account, ratio, None, closed)
    if isinstance(event, e.UsageReported):
        answer.late, answer.unallocated = event.late, event.unallocated
    answer.unpriced, answer.base_tier, answer.repaired = counts.unpriced, counts.base_tier, event.repaired
    answer.repeats, answer.recorded, answer.counted = record.position, any(larger), shown(counts.units)
    return answer


def _larger(units: Money, record: _Record, last: e.UsageCorrected | None) -> tuple[bool, bool, bool]:
    """By dimension, whether a figure is more than all that its source has said, and than what counts."""
    said, counts = most_said(record, last), e.Said.by(record).units if last is None else last.counts.units
    first, second, third = (units[d] > max(said[d], counts[d]) for d in DIMENSIONS)
    return first, second, third


def _merged(counts: e.Said, new: e.Said, larger: tuple[bool, bool, bool]) -> e.Said:
    """What counts from here on."""
    changed: dict[str, Any] = {}
    if larger[TOKENS]:
        changed = {name: getattr(new, name) for name in _KINDS}
        changed |= {"model": new.model or counts.model, "requests": new.requests or counts.requests}
    if larger[TIME]:
        changed["time_ms"] = new.time_ms
    if larger[COST]:
        changed |= {name: getattr(new, name) for name in _PRICE}
        changed.setdefault("model", counts.model or new.model)
    return replace(counts, **changed)


def _replace(turn: Turn, known: p.ApplySource, after: e.Said, units: Money) -> None:
    """Correct a record: nothing comes back, so nothing can be in the way."""
    ledger, record, last = turn.ledger, known.record, known.last
    before = e.Said.by(record) if last is None else last.counts
    pays = paid(ledger, record, finder(known.openings))
    if isinstance(pays, Forgotten):
        pays = Paid(ledger.root)
    model = known.model if last is None else last.model_after or last.model
    asked = c.CorrectUsage(position=record.position, reason=LARGER, model=None if after.model == model else after.model)
    command = p.ApplyCorrection(asked=asked, record=record, last=last, day=known.day, model=known.model)
    event = correction(ledger, command, pays, before, after)
    said = most_said(record, last)
    most = (max(said[0], units[0]), max(said[1], units[1]), max(said[2], units[2]))
    event.repeats, event.source_most = True, None if most == after.units else Amounts(*most)
    if record.overdrawn is not None:
        # Where the record was charged to the fleet, so is what is added to it.
        pays = Paid(ledger.root)
        event.charged = event.closed = event.life = None
        event.closed_in = []
    book_correction(turn, pays, event)
