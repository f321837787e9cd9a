"""How runs of tasks count in limits: each is open in those that match it, with what it may still use."""

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT
from tallystick.events.state.limit_subjects import limits_of, own_value
from tallystick.events.state.limits import Place, Run
from tallystick.events.state.slot_time import micros


def start_run(ledger: Ledger, event: e.TaskStarted) -> None:
    """A run is open in the limits that match it, and what it may still use is committed in them."""
    limits, account = ledger.limits, ledger.accounts[event.task]
    if not ledger.rules.limits and not account.caps:
        return
    places: list[Place] = []
    now = micros(event.at)
    for rule, said in limits_of(ledger, account, event.model):
        state = limits.states[rule.name]
        value = limits.key(state, said or own_value(rule, account, None), ledger.rules.counters_max, now)
        places.append((rule.name, state.born, value))
    limits.runs[event.task] = Run(tuple(places), event.model)
    run_in_limits(ledger, event.task, 1)


def end_run(ledger: Ledger, event: "e.TaskPreempted | e.LeaseLost | e.TaskCompleted | e.TaskCancelled") -> None:
    """A run is over."""
    limits = ledger.limits
    if event.task in limits.runs:
        run_in_limits(ledger, event.task, -1)
        limits.forget(limits.runs.pop(event.task).places, micros(event.at))


def run_in_limits(ledger: Ledger, task: str, sign: int) -> None:
    """A run takes its place in its counters, or leaves it."""
    limits, run = ledger.limits, ledger.limits.runs[task]
    for place in run.places:
        state = limits.states.get(place[0])
        if state is not None and state.born == place[1] and CONCURRENT in state.rule.measures:
            counter = limits.counter(state, place[2])
            counter.held[state.rule.measures.index(CONCURRENT)] += sign
            if sign < 0:
                limits.note_freed(place[0], place[2])
    commitment = ledger.commitments.runs.get(task)
    if sign < 0 or commitment is None:
        _commit(ledger, run, 0, 0)
    else:
        _commit(ledger, run, commitment.open, commitment.unpriced)


def follow_run(ledger: Ledger, account: Account) -> None:
    """What the run of an account may still use has changed: so has what it commits."""
    run = None if account.run is None else ledger.limits.runs.get(account.run)
    if run is None or account.run is None:
        return
    commitment = ledger.commitments.runs.get(account.run)
    if commitment is not None:
        _commit(ledger, run, commitment.open, commitment.unpriced)


def _commit(ledger: Ledger, run: Run, tokens: int, unpriced: int) -> None:
    """A run commits so much from now on."""
    more, more_unpriced = tokens - run.open, unpriced - run.unpriced
    run.open, run.unpriced = tokens, unpriced
    if not more and not more_unpriced:
        return
    for place in run.places:
        state = ledger.limits.states.get(place[0])
        if state is None or state.born != place[1] or not state.rule.is_long:
            continue
        counter = ledger.limits.counter(state, place[2])
        counter.committed += more
        ledger.limits.note_freed(place[0], place[2])
        models = counter.models or {}
        models[run.model] = models.get(run.model, 0) + more_unpriced
        if not models[run.model]:
            del models[run.model]
        counter.models = models or None
