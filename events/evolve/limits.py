"""How events change what limits have counted. It is called only where there are limits, or were."""

from collections.abc import Sequence

from msgspec.structs import replace

from tallystick.config.amounts import Triple
from tallystick.events import catalog as e
from tallystick.events.catalog.usage import tokens_of
from tallystick.events.evolve.account_limits import keep_open, name_models
from tallystick.events.evolve.limit_runs import follow_run, run_in_limits
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.counters import NEAR, OPENS, Counter
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import INPUT, OTHER, REQUESTS, TOKENS
from tallystick.events.state.limit_subjects import (
    Units,
    caps_of_late,
    held_units,
    limits_of,
    limits_of_late,
    of_hold,
    own_value,
    requests_of,
    used_units,
)
from tallystick.events.state.limited_holds import Limited, Part
from tallystick.events.state.limits import Limits, LimitState, Match, Place
from tallystick.events.state.money import money
from tallystick.events.state.remembered import EndedHold
from tallystick.events.state.slot_time import micros

# --- the configuration and the windows -------------------------------------------------------------------------------


def configure(ledger: Ledger, event: e.ConfigLoaded) -> None:
    """Limits that are new, or count something else, count from here on; another maximum keeps what was counted."""
    limits, index, now = ledger.limits, ledger.rules.limits, micros(event.at)
    if not index and not limits.states and limits.ends.keys() <= {"day"}:
        return
    before, limits.states = limits.states, {}
    of_accounts = [state for state in before.values() if state.rule.owner is not None]
    for name, rule in index.by_name.items():
        state = before.get(name)
        if state is None or state.rule.definition != rule.definition:
            limits.states[name] = LimitState(rule, event.position, now)
            continue
        measures, state.rule = state.rule.measures, rule
        if measures != rule.measures:
            state.since = {m: state.since.get(m, now) for m in rule.measures}
            for counter in state.counters.values():
                counter.resized(rule, measures)
        limits.states[name] = state
    limits.states |= {state.rule.name: state for state in of_accounts}
    name_models(ledger)
    limits.count = sum(len(state.counters) for state in limits.states.values())
    limits.full = False
    kept = index.calendars.union(limits.calendars, ("day",))
    limits.began = {kind: at for kind, at in limits.began.items() if kind in kept}
    limits.begun = {kind: position for kind, position in limits.begun.items() if kind in kept}
    limits.ends = {kind: at for kind, at in limits.ends.items() if kind == "day"}
    ends = {kind: micros(at) for kind, at in event.limit_windows.items()}
    limits.enter_windows(ends, event, keep=True)
    keep_open(ledger, [state.rule for state in of_accounts], now)
    recount(ledger)


def begin_windows(ledger: Ledger, event: e.LimitWindowsBegan) -> None:
    """Calendar windows begin: nothing is used in them."""
    ends = {kind: micros(at) for kind, at in event.window_ends.items()}
    ledger.limits.enter_windows(ends, event, keep=False)


# --- uses ------------------------------------------------------------------------------------------------------------


def report(ledger: Ledger, account: Account | None, event: e.UsageReported) -> None:
    """Usage is counted in every limit that matches it."""
    ended = None if event.hold is None else ledger.ended_holds.get(event.hold)
    if ended is not None:
        model, labels, units = _settled_late(ledger, ended, event)
    else:
        is_request = event.model is not None or event.operation is not None
        model, labels, units = event.model, event.labels, used_units(event, requests_of(event.requests, is_request))
    now = micros(event.at)
    limits = ledger.limits
    states, began = limits.states, limits.began
    limits.touched = touched = []
    if account is not None:
        caps, counted = account.caps, limits_of(ledger, account, model, labels)
    else:
        caps, counted = caps_of_late(ledger, event), limits_of_late(ledger, event, model, labels)
    is_odd = bool(caps) or event.occurred_at is not None
    for rule, said in counted:
        state = states[rule.name]
        value = said or own_value(rule, account, labels)  # type: ignore[arg-type]  # without one all of them are said
        counter = state.counters.get(value)
        if counter is None or is_odd or state.closed or (state.over and state.over[0][0] <= now):
            match = _count(ledger, state, value, units, event)
        elif heard := counter.count(rule, units, began.get(rule.kind, 0), now):
            # As `_use` has it, without a call: nearly all that is reported is counted here.
            match = _heard(limits, state, value, counter, heard)
        else:
            continue
        if match is not None:
            touched.append(match)
    if caps:
        keep_open(ledger, caps, now)
    if account is not None and account.run is not None:
        follow_run(ledger, account)


def _count(ledger: Ledger, state: LimitState, value: str, units: Units, event: e.UsageReported) -> Match | None:
    """What is reported is counted, in a counter that may not be there yet; what may have something to say to it."""
    limits, now = ledger.limits, micros(event.at)
    value = limits.key(state, value, ledger.rules.counters_max, now)
    match = _use(limits, state, value, units, now, event)
    return Match(state, value, state.counters.get(value)) if match is None and _speaks(ledger, state) else match


def _speaks(ledger: Ledger, state: LimitState) -> bool:
    """Whether a limit may have something to say although all lines are far: it grants nothing for a time, or the level
    of an account follows from it.
    """
    owner = state.rule.owner
    return bool(state.closed) or (owner is not None and ledger.accounts[owner].carves_nothing)


def _settled_late(
    ledger: Ledger, ended: EndedHold, event: e.UsageReported
) -> tuple[str | None, dict[str, str] | None, Units]:
    """What a hold that has ended was used for, and how much: it counts as if that stood."""
    model, labels = of_hold(ended, event)
    limited = ended.limited or _UNLIMITED
    requests = _requests_settled(limited, model, event)
    if ended.limited is not None and event.hold is not None:
        limited = _settled(limited, Part(event.position, 0, 0, requests, labels))
        ledger.ended_holds.change(replace(ended, limited=limited))
    return model, labels, used_units(event, requests)


def use_earlier(
    limits: Limits, state: LimitState, value: str, units: Sequence[int], event: "e.UsageReported | e.HoldSettled"
) -> Match | None:
    """Something was used before now, and counted in the window in which it was used, if that is not over. As with
    `_use`: what may have something to say to it.
    """
    rule, at, now = state.rule, micros(event.used_at), micros(event.at)
    counted = [units[m] if at >= state.since.get(m, now) else 0 for m in range(len(units))]
    if rule.kind not in event.past_windows and any(counted[m] for m in rule.measures):
        counter = limits.counter(state, value)
        if counter.count_earlier(rule, counted, limits.began_at(rule), at, now):
            limits.opened(state, value, counter)
        if not limits.is_fork:
            limits.forget_unused(state, value, now)
    found = state.counters.get(value)
    return None if limits.is_far(rule, value, found) else Match(state, value, found)


def _use(
    limits: Limits,
    state: LimitState,
    value: str,
    units: Sequence[int],
    now: int,
    event: "e.UsageReported | e.HoldSettled | None" = None,
) -> Match | None:
    """Something is used, and counted; what may have something to say to it, None where all lines are far. ``event``
    says when it was used, where that was not now.
    """
    if event is not None and event.occurred_at is not None:
        return use_earlier(limits, state, value, units, event)
    rule, counter = state.rule, state.counters.get(value)
    if counter is None or (state.over and state.over[0][0] <= now):
        if not rule.counts(units):
            return None if limits.is_far(rule, value, counter) else Match(state, value, counter)
        limits.forget_over(state, now)
        counter = limits.counter(state, value)
    said = counter.count(rule, units, limits.began.get(rule.kind, 0), now)
    return _heard(limits, state, value, counter, said) if said or value == OTHER else None


def _heard(limits: Limits, state: LimitState, value: str, counter: Counter, said: int) -> Match | None:
    """What counting has said (see `Counter.count`): a window that begins will be over."""
    if said & OPENS:
        limits.opened(state, value, counter)
    if said & NEAR or (value == OTHER and not limits.full):
        return Match(state, value, counter)
    return None


# --- holds -----------------------------------------------------------------------------------------------------------


def place_hold(ledger: Ledger, hold: Hold, event: e.HoldPlaced) -> None:
    """A hold counts in the limits that match it; its requests and its known input as used."""
    limits, account, now = ledger.limits, hold.account, micros(event.at)
    is_request = event.model is not None or event.operation is not None
    requests = requests_of(event.requests, is_request)
    split = event.input_tokens is not None or event.output_tokens is not None
    sent = event.input_tokens or 0
    output = max(0, hold.amount[TOKENS] - sent) if split else 0
    places: list[Place] = []
    units, states = (0, 0, 0, sent, 0, requests, 0), limits.states
    for rule, said in limits_of(ledger, account, event.model, event.labels, hold=True):
        state = states[rule.name]
        value = said or own_value(rule, account, event.labels)
        if value not in state.counters:
            value = limits.key(state, value, ledger.rules.counters_max, now)
        places.append((rule.name, state.born, value))
        _use(limits, state, value, units, now)
    keep_open(ledger, account.caps, now)
    hold.limited = Limited(tuple(places), event.model, is_request, split, requests, sent, output)
    hold_in_limits(ledger, hold, 1)
    follow_run(ledger, account)


def extended(ledger: Ledger, hold: Hold, more: Triple) -> None:
    """A hold is larger: what it has beyond its split is output."""
    limited = hold.limited
    if limited is not None and limited.split:
        hold.limited = replace(limited, output=limited.output + money(more)[TOKENS])


def hold_in_limits(ledger: Ledger, hold: Hold, sign: int) -> None:
    """What a hold has set aside is held in its counters, or no longer is."""
    if hold.limited is None:
        return
    limits, units = ledger.limits, held_units(hold)
    states, is_back = limits.states, limits.freed is not None and sign < 0
    for name, born, value in hold.limited.places:
        state = states.get(name)
        if state is None or state.born != born:
            continue
        counter = state.counters.get(value)
        if counter is None:
            if not state.rule.counts(units):
                continue
            counter = limits.counter(state, value)
        held = counter.held
        for place, m, _ in state.rule.bounds:
            held[place] += sign * units[m]
        if is_back and state.rule.counts(units):
            limits.note_freed(name, value)


_UNLIMITED = Limited(places=(), model=None, is_request=False, split=False, requests=0, input=0, output=0)


def settle(ledger: Ledger, hold: Hold, event: e.HoldSettled) -> None:
    """What was used takes the place of what was held, in every limit that matches it now: also in those that the hold
    was not known to match. Called after the hold was released from its counters.
    """
    limits, account, now = ledger.limits, hold.account, micros(event.at)
    limited = hold.limited or _UNLIMITED
    model, labels = of_hold(hold, event)
    requests = _requests_settled(limited, model, event)
    units = used_units(event, requests)
    beyond = _beyond(units, limited)
    matched: set[Place] = set()
    limits.touched = touched = []
    for rule, said in limits_of(ledger, account, model, labels):
        state = limits.states[rule.name]
        value = said or own_value(rule, account, labels)
        if value not in state.counters:
            value = limits.key(state, value, ledger.rules.counters_max, now)
        place = (rule.name, state.born, value)
        matched.add(place)
        counted = beyond if place in limited.places else units
        match = _use(limits, state, value, counted, now, event)
        if match is None and (event.partial or _speaks(ledger, state)):
            # What is left of a part is held again after this.
            match = Match(state, value, state.counters.get(value))
        if match is not None:
            touched.append(match)
    keep_open(ledger, account.caps, now)
    granted = (min(limited.input, units[INPUT]), min(limited.requests, requests))
    rest = (0, 0) if event.partial else (limited.input - granted[0], limited.requests - granted[1])
    for place in limited.places:
        # Where it does not count after all, what is settled did not either.
        back = rest if place in matched else (rest[0] + granted[0], rest[1] + granted[1])
        if any(back):
            _take_back(ledger, place, back, micros(hold.placed_at), now)
    if hold.limited is not None:
        output = limited.output and min(max(0, limited.output - tokens_of(event).output), hold.amount[TOKENS])
        part = Part(event.position, *granted, requests, labels)
        hold.limited = replace(_settled(limited, part), output=output)
    limits.forget(limited.places, now)
    follow_run(ledger, account)


def _requests_settled(limited: Limited, model: str | None, event: "e.UsageReported | e.HoldSettled") -> int:
    """How many requests a settlement is about: as it says, or at its end those of the hold that are left."""
    if event.requests is not None or event.partial:
        return event.requests or 0
    names = limited.is_request or model is not None or event.operation is not None
    return limited.requests or int(names and not limited.is_request)


def _settled(limited: Limited, part: Part) -> Limited:
    """What is left of a hold behind a settlement."""
    return replace(
        limited,
        input=limited.input - part.input,
        requests=max(0, limited.requests - part.asked),
        parts=(*limited.parts, part),
    )


def settle_in_the_past(ledger: Ledger, hold: Hold, event: e.HoldSettled) -> None:
    """A hold is settled with what was used before the period: what was counted at its grant stays counted."""
    if event.partial:
        hold_in_limits(ledger, hold, 1)
    ledger.limits.forget(() if hold.limited is None else hold.limited.places, micros(event.at))
    follow_run(ledger, hold.account)


def _beyond(units: Units, limited: Limited) -> Units:
    """What was used beyond what a hold has counted as used already."""
    tokens, time_ms, cost, sent, got, requests, still = units
    return (tokens, time_ms, cost, max(0, sent - limited.input), got, max(0, requests - limited.requests), still)


def give_back(ledger: Ledger, hold: Hold, now: int) -> None:
    """A hold ends unused: its requests and its input were not used after all."""
    if hold.limited is not None:
        for place in hold.limited.places:
            back = (hold.limited.input, hold.limited.requests)
            _take_back(ledger, place, back, micros(hold.placed_at), now)
        ledger.limits.forget(hold.limited.places, now)
    follow_run(ledger, hold.account)


def _take_back(ledger: Ledger, place: Place, back: tuple[int, int], at: int, now: int) -> None:
    found = ledger.limits.at(place)
    if found is None or not any(back):
        return
    state, counter = found
    ledger.limits.note_freed(place[0], place[2])
    for measure, units in zip((INPUT, REQUESTS), back, strict=True):
        if units and at >= state.since.get(measure, now + 1):
            began = ledger.limits.began_at(state.rule)
            counter.take_back(state.rule, state.rule.measures.index(measure), units, began, at, now)
    counter.close_unused(state.rule)


def recount(ledger: Ledger) -> None:
    """Find what is held and committed anew, from the holds that stand and the runs."""
    for state in ledger.limits.states.values():
        for counter in state.counters.values():
            counter.held = [0] * len(state.rule.measures)
            counter.committed, counter.models = 0, None
    for hold in ledger.holds.values():
        hold_in_limits(ledger, hold, 1)
    for task, run in ledger.limits.runs.items():
        run.open = run.unpriced = 0
        run_in_limits(ledger, task, 1)
