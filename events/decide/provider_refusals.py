"""A provider's own refusal: what limits pace its requests grants nothing until it may be asked again."""

import datetime as dt

from tallystick.config.amounts import TIME, InvalidAmount, units_up
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import enforcement
from tallystick.events.decide.limit_readings import has_limits, matches, matches_of
from tallystick.events.decide.own_limits import ratio
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Enforcement, Refusal
from tallystick.events.state.calendar import later
from tallystick.events.state.limit_rules import LimitRule, Subject
from tallystick.events.state.limit_subjects import model_of
from tallystick.events.state.limits import Match

UNSAID_MS = 60_000
"""How long nothing is granted where the provider does not say it; in a shorter window, for its length."""
_LONGEST_MS = 604_800_000


def retry_ms(command: c.ReportUsage) -> int | None:
    """After how long the provider may be asked again, as it says; a part of a millisecond is rounded up.

    Raises:
        InvalidAmount: negative, not finite, or longer than a week.
    """
    if command.retry_after_seconds is None:
        return None
    ms = units_up(command.retry_after_seconds, TIME, "retry_after_seconds")
    if ms > _LONGEST_MS:
        raise InvalidAmount("retry_after_seconds", command.retry_after_seconds, "from 0 to 604800 seconds (a week)")
    return ms


def misplaced(command: c.ReportUsage) -> Refusal | None:
    """Why a report says nothing of a provider's refusal, although it names when to ask again."""
    if command.rate_limited or command.retry_after_seconds is None:
        return None
    return Refusal("invalid_message", "ReportUsage: retry_after_seconds is allowed beside rate_limited only")


def says_usage(command: c.ReportUsage) -> bool:
    """Whether a report says also that something was used."""
    counts = (command.usage, command.provider_usage, command.input_tokens, command.output_tokens)
    parts = (command.cached_tokens, command.cache_write_tokens, command.reasoning_tokens)
    audio = (command.audio_input_tokens, command.audio_output_tokens)
    return any(one is not None for one in (*counts, *parts, *audio))


def close_limits(turn: Turn, command: c.ReportUsage, agent: str, after_ms: int | None) -> Enforcement:
    """Let the limits that wait for a provider's pace grant nothing for a time; the answer is what holds then."""
    ledger = turn.ledger
    account = ledger.accounts.get(agent)
    model = command.model or (None if account is None else account.model)
    if not has_limits(ledger, account):
        found = []
    elif account is not None:
        found = matches_of(ledger, account, turn.now, model, command.labels)
    else:
        subject = Subject(agent, None, None, None, *model_of(ledger, model), command.labels)
        found = matches(ledger, subject, turn.now)
    closed = [
        e.ClosedCounter(match.rule.name, match.value, later(turn.now, _time_closed(match.rule, after_ms)))
        for match in found
        if match.rule.then == "wait"
    ]
    turn.record(e.ProviderRefused(agent=agent, model=model, retry_after_ms=after_ms, closed_counters=closed))
    found = [Match(match.state, match.value, match.state.counters.get(match.value)) for match in found]
    part = 0.0 if account is None else ratio(ledger, account)
    return enforcement(turn, agent, account, part, None, ledger.released.get(agent), found)


def _time_closed(rule: LimitRule, after_ms: int | None) -> dt.timedelta:
    if after_ms is None:
        after_ms = min(UNSAID_MS, rule.length_us // 1_000 or UNSAID_MS)
    return dt.timedelta(milliseconds=after_ms)
