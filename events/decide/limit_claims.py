"""What limits say to tasks: whether one may start now, and what it asks of each that matches it.

In a total, and in windows of a day or longer, a run counts with what it may still use; in shorter ones it counts by its
holds and reports, so that it starts where there is any room at all.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tallystick.config.limits import MEASURES, shown
from tallystick.events.decide.daily_limits import daily_code, daily_reason
from tallystick.events.decide.facts import model_for
from tallystick.events.decide.limit_readings import (
    Reading,
    cost_of,
    has_limits,
    matches,
    matches_today,
    reading,
    window_words,
)
from tallystick.events.messages.task_replies import Reason
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT, COST, FAR, Subject
from tallystick.events.state.limit_subjects import Units, model_of
from tallystick.events.state.limits import Match
from tallystick.events.state.slot_time import micros
from tallystick.events.state.task_rules import day_tokens
from tallystick.events.state.tasks import Task


class LimitClaim(NamedTuple):
    """What a task asks of one measure of a limit, in whole units: ``stands`` is how it stands without a victim.

    ``source`` names the counter; of a limit of the day it begins with the code of its reason.
    """

    source: str
    match: Match
    stands: Reading
    needed: int

    @property
    def is_short(self) -> bool:
        return self.stands.is_over(self.needed)

    @property
    def free(self) -> int:
        return self.stands.most - self.stands.used - self.stands.held - self.stands.committed

    @property
    def fits(self) -> bool:
        """Whether it could fit if nothing were held or committed."""
        return not self.stands._replace(held=0, committed=0).is_over(self.needed)

    def reason(self) -> Reason:
        """Why it does not fit."""
        if self.match.rule.is_shorthand:
            return daily_reason(daily_code(self.match, self.stands.measure), self.match, self.stands, self.needed)
        m, rule = self.stands.measure, self.match.rule
        most, taken, needed = (_number(m, n) for n in (self.stands.most, self.stands.most - self.free, self.needed))
        words = f"limit {rule.name} of {self.match.value}: {taken} of {most} {MEASURES[m]} is used, held or committed"
        return Reason("limit_reached", most, taken, f"{words} ({window_words(rule)}), {needed} is needed")


def limit_claims(ledger: Ledger, task: Task, victim: Task | None = None) -> Iterator[LimitClaim]:
    """What a task asks of the limits that it is under, those of the day first. ``victim``: as if that run had ended."""
    now = micros(max(ledger.looked_at, ledger.now))
    for match in matches_today(ledger, task.product):
        yield from _claims_today(ledger, task, match, victim, now)
    yield from _claims_beside_the_day(ledger, task, victim)


def _claims_beside_the_day(ledger: Ledger, task: Task, victim: Task | None = None) -> Iterator[LimitClaim]:
    parent = ledger.root if task.parent is None else ledger.accounts[task.parent]
    if not has_limits(ledger, parent):
        return
    at = max(ledger.looked_at, ledger.now)
    now = micros(at)
    model = model_for(ledger, task).model
    needed = _needed(ledger, task, model)
    for match in matches(ledger, _subject(ledger, task, model), at):
        rule = match.rule
        if rule.then == "warn":
            continue
        for place, m in enumerate(rule.measures):
            stands = reading(ledger, match, place, now)
            if victim is not None:
                stands = _without(ledger, stands, match, victim)
            asked = needed[m] if rule.is_long or m == CONCURRENT else 0
            yield LimitClaim(f"limit {rule.name} {match.value} {MEASURES[m]}", match, stands, asked)


def _claims_today(ledger: Ledger, task: Task, match: Match, victim: Task | None, now: int) -> Iterator[LimitClaim]:
    """What runs counts with the unspent rest of its token budget, or of its estimate where it has none."""
    commitments = ledger.commitments
    freed = None if victim is None else commitments.runs[victim.id]
    needed = day_tokens(ledger.rules.config, task.agent_type, task.estimated_tokens)
    for place, m in enumerate(match.rule.measures):
        stands = reading(ledger, match, place, now)
        if stands.most >= FAR:
            continue
        code = daily_code(match, m)
        if code == "daily_cost":
            by_model = dict(commitments.by_model)
            if freed is not None:
                by_model[freed.model] = by_model.get(freed.model, 0) - freed.unpriced
            waits = sum(cost_of(ledger, name, tokens) for name, tokens in by_model.items())
            held = stands.held - (0 if freed is None else freed.held_cost)
            cost = cost_of(ledger, model_for(ledger, task).model, needed)
            yield LimitClaim(code, match, stands._replace(held=held, committed=waits), cost)
            continue
        waits, source = commitments.open, code
        if code == "product_daily_tokens":
            waits, source = commitments.by_product[task.product], f"{code} {task.product}"
        if freed is not None and (code == "daily_tokens" or freed.product == task.product):
            stands, waits = stands._replace(held=stands.held - freed.held), waits - freed.open
        yield LimitClaim(source, match, stands._replace(committed=waits), needed)


def limit_obstacle(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    """The limit that keeps a task from starting, or None. ``victim``: as if that run had ended."""
    return next((claim.reason() for claim in limit_claims(ledger, task, victim) if claim.is_short), None)


def never_under_limits(ledger: Ledger, task: Task) -> Reason | None:
    """A limit that a task does not meet although nothing is used of it, also as it is raised: it can never start. Those
    of the day are asked by `never_today`.
    """
    for claim in _claims_beside_the_day(ledger, task):
        m, rule, most = claim.stands.measure, claim.match.rule, claim.stands.most
        if claim.needed > most:
            limit, asked = _number(m, most), _number(m, claim.needed)
            words = f"{asked} {MEASURES[m]} is needed, and limit {rule.name} of {claim.match.value} is {limit}"
            return Reason("limit_reached", limit, asked, f"{words} ({window_words(rule)})")
    return None


def _number(measure: int, units: int) -> int | str:
    """Units in a reason: a part of a second as text."""
    value = shown(measure, units)
    return str(value) if isinstance(value, float) else value


def _needed(ledger: Ledger, task: Task, model: str) -> Units:
    tokens = day_tokens(ledger.rules.config, task.agent_type, task.estimated_tokens)
    return (tokens, 0, cost_of(ledger, model, tokens), tokens, tokens, 0, 1)


def _subject(ledger: Ledger, task: Task, model: str) -> Subject:
    """What the account of a run will say of itself."""
    parent = ledger.root if task.parent is None else ledger.accounts[task.parent]
    labels = {**(parent.all_labels or {}), **(task.labels or {})}
    workflow = task.workflow or parent.budget_workflow
    model_and_provider = model_of(ledger, model, parent.caps)
    return Subject(task.id, task.agent_type, task.product, workflow, *model_and_provider, labels, parent.caps)


def _without(ledger: Ledger, stands: Reading, match: Match, victim: Task) -> Reading:
    """How a measure would stand if a run had ended, but for its holds."""
    run, state = ledger.limits.runs.get(victim.id), match.state
    if run is None or (state.rule.name, state.born, match.value) not in run.places:
        return stands
    if stands.measure == CONCURRENT:
        return stands._replace(held=stands.held - 1)
    if not state.rule.is_long or not stands.committed:
        return stands
    if stands.measure != COST:
        return stands._replace(committed=stands.committed - run.open)
    return stands._replace(committed=max(0, stands.committed - cost_of(ledger, run.model, run.unpriced)))
