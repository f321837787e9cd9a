"""Days: where one begins, what its limits leave, and what is in the way when they leave too little (spec 3).

A daily limit is not checked and then spent: what is set aside and what running tasks may still use count as well, so
that requests at the same moment are never granted more than there is.
"""

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tallystick.config.amounts import COST, EDGE_NAMES, TOKENS, Triple, at_edge, dollars
from tallystick.config.price import Tokens
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.facts import limit_of, model_for
from tallystick.events.decide.pricing import quoted
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Number, Refusal
from tallystick.events.messages.task_replies import Reason
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import local_date, midnight_after
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import day_tokens
from tallystick.events.state.tasks import Task

# --- the day ---------------------------------------------------------------------------------------------------------


def day_of(config: Config, now: dt.datetime) -> tuple[str, dt.datetime]:
    """The date in the fleet's zone, and when the next one begins, also where clocks change."""
    zone = ZoneInfo(config.timezone)
    today = local_date(now, zone)
    return today.isoformat(), midnight_after(today, 1, zone)


def begin_day(turn: Turn) -> None:
    """It is another day: that of the clock, also where several days passed without a message."""
    date, ends_at = day_of(turn.ledger.rules.config, turn.now)
    turn.record(e.DayBegan(date=date, ends_at=ends_at))


def seconds_left(ledger: Ledger, now: dt.datetime) -> Number:
    """Until the next day begins, in seconds: whole where they are."""
    left = (ledger.day.ends_at - now).total_seconds()
    return int(left) if left.is_integer() else left


# --- the limits ------------------------------------------------------------------------------------------------------


def limit_of_product(ledger: Ledger, product: str | None) -> int | None:
    """A product's tokens per day; None where it has no limit of its own."""
    return ledger.rules.product_tokens.get(product)


def over_daily_limit(ledger: Ledger, account: Account, wanted: Triple, now: dt.datetime) -> Refusal | None:
    """Why ``wanted`` may not be set aside today, or None: the first limit that refuses it."""
    return next(daily_refusals(ledger, account, wanted, now), None)


def daily_refusals(
    ledger: Ledger, account: Account, wanted: Triple, now: dt.datetime, *, asked: bool = True
) -> Iterator[Refusal]:
    """Every limit of the day that refuses ``wanted``: used, held and requested must be within each.

    Where a limit is reached nothing more is set aside, whatever it is counted in. Without ``asked``, no hold is
    requested yet, and ``wanted`` is the least that one could be.
    """
    for d in (TOKENS, COST):
        limit = limit_of(ledger, d)
        if limit is None:
            continue
        numbers = (limit, ledger.used_today[d], ledger.held[d], wanted[d] or 0)
        if _is_over(*numbers):
            yield _reached(ledger, f"the daily {_NAMES[d]} limit", "limit:daily", d, numbers, now, asked)
    product = account.budget_product
    limit = limit_of_product(ledger, product)
    if limit is None or product is None:
        return
    numbers = (limit, ledger.day.by_product[product], ledger.day.held_by_product[product], wanted[TOKENS] or 0)
    if _is_over(*numbers):
        what, name = f"the daily token budget of {product}", f"limit:product-daily:{product}"
        yield _reached(ledger, what, name, TOKENS, numbers, now, asked)


_NAMES = ("token", "time", "cost")


def _is_over(limit: int, used: int, held: int, requested: int) -> bool:
    return used >= limit or used + held + requested > limit


def _reached(
    ledger: Ledger, what: str, name: str, d: int, numbers: tuple[int, int, int, int], now: dt.datetime, asked: bool
) -> Refusal:
    limit, used, held, requested = (at_edge(units, d) for units in numbers)
    # Where a whole day would not be enough, neither is the next.
    waits = seconds_left(ledger, now) if numbers[3] <= numbers[0] else None
    return Refusal(
        "daily_limit_reached",
        f"{what} is {limit}: {used} is used today and {held} held" + (f", {requested} was asked for" if asked else ""),
        {
            "decided_by": name,
            "dimension": EDGE_NAMES[d],
            "limit": limit,
            "used": used,
            "held": held,
            "requested": requested,
            "retry_after_seconds": waits,
        },
    )


def breaker_open(ledger: Ledger) -> Refusal | None:
    """Why nothing new may begin, or None."""
    if ledger.day.tripped is None:
        return None
    detail = f"the circuit breaker is open: {ledger.day.tripped}"
    return Refusal("breaker_open", detail, {"condition": ledger.day.tripped})


def no_new_accounts(ledger: Ledger) -> Refusal | None:
    """Why no account may be opened by a message now: everything is paused, or the breaker is open."""
    if ledger.is_paused:
        return Refusal("paused", f"everything is paused: {ledger.paused or 'by configuration'}")
    return breaker_open(ledger)


# --- tasks -----------------------------------------------------------------------------------------------------------


class DailyClaim(NamedTuple):
    """What a task asks of one daily limit, in tokens or nano-dollars: ``taken`` is used, held or committed to runs."""

    code: str
    what: str
    dimension: int
    limit: int
    used: int
    taken: int
    needed: int

    @property
    def is_short(self) -> bool:
        """Whether it does not fit now."""
        return _is_over(self.limit, self.used, self.taken - self.used, self.needed)

    @property
    def fits_today(self) -> bool:
        """Whether it could fit if nothing were held and nothing ran."""
        return not _is_over(self.limit, self.used, 0, self.needed)

    def reason(self) -> Reason:
        """Why it does not fit."""
        numbers = (self.limit, self.taken, self.needed)
        limit, taken, needed = (dollars(units) if self.dimension == COST else units for units in numbers)
        message = f"{self.what}: {taken} of {limit} is used today or committed to running tasks, {needed} is needed"
        return Reason(self.code, limit, taken, message)


def daily_claims(ledger: Ledger, task: Task, victim: Task | None = None) -> Iterator[DailyClaim]:
    """What a task asks of the daily limits that it is under: tokens, cost, then its product's tokens.

    What runs counts with the unspent rest of its token budget, or of its estimate where it has none.
    ``victim``: as if that run had ended.
    """
    config, commitments = ledger.rules.config, ledger.commitments
    needed = day_tokens(config, task.agent_type, task.estimated_tokens)
    freed = None if victim is None else commitments.runs[victim.id]
    limit = limit_of(ledger, TOKENS)
    if limit is not None:
        used = ledger.used_today[TOKENS]
        taken = used + ledger.held[TOKENS] + commitments.open - (0 if freed is None else freed.open + freed.held)
        yield DailyClaim("daily_tokens", "daily token limit", TOKENS, limit, used, taken, needed)
    limit = limit_of(ledger, COST)
    if limit is not None:
        used = ledger.used_today[COST]
        by_model = dict(commitments.by_model)
        if freed is not None:
            by_model[freed.model] = by_model.get(freed.model, 0) - freed.unpriced
        taken = used + ledger.held[COST] - (0 if freed is None else freed.held_cost)
        taken += sum(cost_of(ledger, name, tokens) for name, tokens in by_model.items())
        cost = cost_of(ledger, model_for(ledger, task).model, needed)
        yield DailyClaim("daily_cost", "daily cost limit", COST, limit, used, taken, cost)
    limit = limit_of_product(ledger, task.product)
    if limit is not None:
        used = ledger.day.by_product[task.product]
        taken = used + ledger.day.held_by_product[task.product] + commitments.by_product[task.product]
        if freed is not None and freed.product == task.product:
            taken -= freed.open + freed.held
        what = f"daily token budget of {task.product}"
        yield DailyClaim("product_daily_tokens", what, TOKENS, limit, used, taken, needed)


def daily_obstacle(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    """The daily limit that keeps a task from starting, or None. ``victim``: as if that run had ended."""
    return next((claim.reason() for claim in daily_claims(ledger, task, victim) if claim.is_short), None)


def never_today(ledger: Ledger, task: Task) -> Reason | None:
    """A daily limit that a whole day does not meet, as configured: the task can never start under it."""
    config = ledger.rules.config
    fleet, product = config.daily_limits.max_tokens_total, limit_of_product(ledger, task.product)
    if fleet is not None or product is not None:
        needed = day_tokens(config, task.agent_type, task.estimated_tokens)
        for code, limit, whose in (
            ("daily_tokens", fleet, "the fleet"),
            ("product_daily_tokens", product, task.product),
        ):
            if limit is not None and needed > limit:
                return Reason(code, limit, needed, f"{needed} tokens are needed, and {whose} may use {limit} a day")
    if config.daily_limits.max_cost_nanos == 0:
        return Reason("daily_cost", dollars(0), dollars(0), "nothing may be spent: the daily cost limit is 0")
    return None


def cost_of(ledger: Ledger, model: str, tokens: int) -> int:
    """What so many tokens cost on a model, in nano-dollars, with the fleet's measured mix of input and output.

    They are those of many requests, none of which is known to be long: the base tier holds.
    """
    return quoted(ledger.rules, model, Tokens(*ledger.day.parts(tokens)), base=True).cost_nanos if tokens else 0
