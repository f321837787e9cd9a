"""How a correction changes what limits have counted: in the windows in which its record counts."""

from typing import NamedTuple

from msgspec.structs import replace

from tallystick.events import catalog as e
from tallystick.events.evolve.account_limits import keep_open
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import INPUT, REQUESTS, Subject
from tallystick.events.state.limit_subjects import (
    Units,
    caps_of_late,
    model_of,
    requests_of,
    subject_of,
    used_units,
)
from tallystick.events.state.limited_holds import Part
from tallystick.events.state.limits import Match, Place
from tallystick.events.state.remembered import EndedHold
from tallystick.events.state.slot_time import micros

_NOTHING: Units = (0, 0, 0, 0, 0, 0, 0)


class _Granted(NamedTuple):
    """What of a settlement counts since its hold was placed: in which counters, and since when."""

    places: tuple[Place, ...] = ()
    at: int = 0
    input: int = 0
    requests: int = 0

    def of(self, place: Place, units: Units) -> Units:
        """The part of what is used that counts since then in a counter."""
        if place not in self.places:
            return _NOTHING
        return (0, 0, 0, min(self.input, units[INPUT]), 0, min(self.requests, units[REQUESTS]), 0)


def correct_limits(ledger: Ledger, event: e.UsageCorrected) -> None:
    """What counted is taken back, and what counts from here on is counted, as of the time of the record.

    A limit that the record did not count in before, since the model was another, counts it if the record is within its
    window.
    """
    limits, record, now = ledger.limits, event.record, micros(event.at)
    hold = None if record.hold is None else ledger.holds.get(record.hold) or ledger.ended_holds.get(record.hold)
    limited = None if hold is None else hold.limited
    part = None if limited is None else next((one for one in limited.parts if one.position == record.position), None)
    granted = _Granted()
    if hold is not None and limited is not None and part is not None:
        granted = _Granted(limited.places, micros(hold.placed_at), part.input, part.requests)
    asked = _requests(part, event)
    before, after = used_units(event.counted, asked[0]), used_units(event.counts, asked[1])
    named = None if limited is None else limited.model
    if named is None and event.is_own and event.run == record.agent:
        task = ledger.tasks.get(event.run)
        named = event.model if task is None else task.model or event.model
    changes: dict[Place, list[Units]] = {}
    for side, units, model in ((0, before, event.counted.model), (1, after, event.counts.model)):
        subject = _subject(ledger, event, model or named, part)
        for rule in ledger.rules.limits.matching(subject):
            state = limits.states[rule.name]
            value = limits.key(state, rule.value_of(subject), ledger.rules.counters_max, now)
            changes.setdefault((rule.name, state.born, value), [_NOTHING, _NOTHING])[side] = units
    limits.touched = touched = []
    for place, (was, becomes) in changes.items():
        state = limits.states[place[0]]
        if any(was[m] != becomes[m] for m in state.rule.measures):
            counter = limits.counter(state, place[2])
            limits.note_freed(place[0], place[2])
            match = Match(state, place[2], counter)
            _change(ledger, match, _moments(ledger, match, record, granted, (was, becomes)), now)
            touched.append(match)
            keep_open(ledger, (state.rule,), now)
    _note(ledger, hold, event, after)
    limits.forget(changes, now)


class _Moment(NamedTuple):
    """When something of a record was used, where that is found in the window, and by how much more or less it counts
    from here on.
    """

    used_at: int
    at: int
    change: Units


def _moments(
    ledger: Ledger, match: Match, record: e.UsageReported | e.HoldSettled, granted: _Granted, units: tuple[Units, Units]
) -> list[_Moment]:
    """Those of them that are in the window at hand."""
    rule, began = match.rule, ledger.limits.began_at(match.rule)
    place = (rule.name, match.state.born, match.value)
    once = _less(granted.of(place, units[1]), granted.of(place, units[0]))
    used_at, rest = micros(record.used_at), _less(_less(units[1], units[0]), once)
    found = [_Moment(granted.at, granted.at, once), _Moment(used_at, used_at, rest)]
    if not rule.is_calendar:
        return found
    begun = ledger.limits.begun.get(str(rule.kind), 0)
    over = (granted.at < began, record.position < begun or rule.kind in record.past_windows)
    return [one._replace(at=max(one.at, began)) for one, gone in zip(found, over, strict=True) if not gone]


def _less(units: Units, less: Units) -> Units:
    first, second, third, sent, got, asked, still = (one - other for one, other in zip(units, less, strict=True))
    return (first, second, third, sent, got, asked, still)


def _change(ledger: Ledger, match: Match, moments: list[_Moment], now: int) -> None:
    """What comes back is taken from the window first: what is counted may open it anew."""
    limits, rule, state, counter = ledger.limits, match.rule, match.state, match.counter
    assert counter is not None
    began = limits.began_at(rule)
    for used_at, at, change in moments:
        for place, m in enumerate(rule.measures):
            if change[m] < 0 and used_at >= state.since.get(m, now + 1):
                counter.take_back(rule, place, -change[m], began, at, now)
    counter.close_unused(rule)
    for used_at, at, change in moments:
        more = [units if units > 0 and used_at >= state.since.get(m, now + 1) else 0 for m, units in enumerate(change)]
        if any(more) and counter.count_earlier(rule, more, began, at, now):
            limits.opened(state, match.value, counter)


def _requests(part: Part | None, event: e.UsageCorrected) -> tuple[int, int]:
    """How many requests a record was about, and is about from here on."""
    if part is not None:
        asked = part.asked
    else:
        is_request = event.record.model is not None or event.record.operation is not None
        asked = requests_of(None, is_request and not event.record.partial)
    was = asked if event.counted.requests is None else event.counted.requests
    return was, was if event.counts.requests is None else event.counts.requests


def _note(ledger: Ledger, hold: Hold | EndedHold | None, event: e.UsageCorrected, after: Units) -> None:
    """A hold remembers what its settlement counts from here on."""
    if hold is None or hold.limited is None or event.record.hold is None:
        return
    parts = [
        replace(
            part,
            input=min(part.input, after[INPUT]),
            requests=min(part.requests, after[REQUESTS]),
            asked=after[REQUESTS],
        )
        if part.position == event.record.position
        else part
        for part in hold.limited.parts
    ]
    limited = replace(hold.limited, parts=tuple(parts))
    if isinstance(hold, Hold):
        hold.limited = limited
    else:
        ledger.ended_holds.change(replace(hold, limited=limited))


def _subject(ledger: Ledger, event: e.UsageCorrected, model: str | None, part: Part | None) -> Subject:
    """What a record counts for, under the model that it named or should have named."""
    record, account = event.record, _account(ledger, event)
    labels = record.labels if part is None else part.labels
    if account is not None:
        return subject_of(ledger, account, model, labels)
    if event.is_own and event.life is not None:
        closed = ledger.lives.get(event.life)
        if closed is not None and closed.labels:
            labels = {**(labels or {}), **closed.labels}
    caps = caps_of_late(ledger, event)
    name, provider = model_of(ledger, model, caps)
    return Subject(record.agent, event.agent_type, event.product, event.workflow, name, provider, labels, caps)


def _account(ledger: Ledger, event: e.UsageCorrected) -> Account | None:
    """The account of a record, if that is open still; one that was opened under its id since then is another."""
    if event.record.account is None or event.closed is not None:
        return None
    account = ledger.accounts.get(event.record.account)
    return account if account is not None and account.life < event.record.position else None
