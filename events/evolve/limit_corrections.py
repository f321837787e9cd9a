"""How a correction changes what limits have counted: in the windows in which its record counts."""

from tallystick.events import catalog as e
from tallystick.events.evolve.account_limits import keep_open
from tallystick.events.evolve.limits import forget, use
from tallystick.events.state.counters import Counter
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import Subject
from tallystick.events.state.limit_subjects import (
    Units,
    caps_of_late,
    model_of,
    requests_of,
    subject_of,
    used_units,
)
from tallystick.events.state.limits import LimitState, Match, Place
from tallystick.events.state.slot_time import micros

_NOTHING: Units = (0, 0, 0, 0, 0, 0, 0)


def correct_limits(ledger: Ledger, event: e.UsageCorrected) -> None:
    """What counted is taken back, and what counts from here on is counted, as of the time of the record.

    A limit that the record did not count in before, since the model was another, counts it from the correction on, if
    the record is within its window.
    """
    limits, record, now = ledger.limits, event.record, micros(event.at)
    is_request = record.model is not None or record.operation is not None
    asked = requests_of(event.counted.requests, is_request)
    before = used_units(event.counted, asked)
    after = used_units(event.counts, asked if event.counts.requests is None else event.counts.requests)
    changes: dict[Place, list[Units]] = {}
    for side, units, model in ((0, before, event.model), (1, after, event.model_after or event.model)):
        subject = _subject(ledger, event, model)
        for rule in ledger.rules.limits.matching(subject):
            state = limits.states[rule.name]
            value = limits.key(state, rule.value_of(subject), ledger.rules.counters_max, now)
            changes.setdefault((rule.name, state.born, value), [_NOTHING, _NOTHING])[side] = units
    limits.touched = touched = []
    at = micros(record.at)
    for place, (was, becomes) in changes.items():
        state = limits.states[place[0]]
        if any(was[m] != becomes[m] for m in state.rule.measures):
            counter = limits.counter(state, place[2])
            if was is not _NOTHING:
                _change(ledger, state, place[2], counter, was, becomes, at, now)
            elif at >= max(limits.began_at(state.rule), now - (state.rule.length_us or now), *state.since.values()):
                use(limits, state, place[2], becomes, now)
            touched.append(Match(state, place[2], counter))
            keep_open(ledger, (state.rule,), now)
    forget(ledger, changes, now)


def _change(
    ledger: Ledger, state: LimitState, value: str, counter: Counter, was: Units, becomes: Units, at: int, now: int
) -> None:
    rule, began = state.rule, ledger.limits.began_at(state.rule)
    ledger.limits.note_freed(rule.name, value)
    for place, m in enumerate(rule.measures):
        if at >= state.since.get(m, now + 1) and at >= began:
            counter.take_back(rule, place, was[m] - becomes[m], began, at, now)


def _subject(ledger: Ledger, event: e.UsageCorrected, model: str | None) -> Subject:
    """What a record counts for, under the model that it named or should have named."""
    record = event.record
    hold = None if record.hold is None else ledger.holds.get(record.hold) or ledger.ended_holds.get(record.hold)
    said = None if hold is None or hold.notes is None else hold.notes.labels
    labels = {**(said or {}), **(record.labels or {})} or None
    account = None if record.account is None or event.closed is not None else ledger.accounts.get(record.account)
    if account is not None:
        return subject_of(ledger, account, model, labels)
    if event.is_own and event.life is not None:
        closed = ledger.lives.get(event.life)
        if closed is not None and closed.labels:
            labels = {**(labels or {}), **closed.labels}
    caps = caps_of_late(ledger, event)
    name, provider = model_of(ledger, model, caps)
    return Subject(record.agent, event.agent_type, event.product, event.workflow, name, provider, labels, caps)
