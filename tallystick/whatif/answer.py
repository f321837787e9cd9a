"""What a what-if comes to, as plain values: both histories, the agents that differ, and all that had to be assumed."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tallystick.config.amounts import DIMENSIONS, edge, seconds, shown_minutes
from tallystick.config.loader import to_mapping
from tallystick.config.prices import PriceList
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.events import catalog as e
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.levels import STOP, WARN
from tallystick.events.log.codec import digest_of
from tallystick.events.state.money import Money
from tallystick.whatif.agent_histories import ACTIONS, AgentHistories, AgentHistory
from tallystick.whatif.assumptions import assumptions
from tallystick.whatif.comparison import SAME_MOMENT
from tallystick.whatif.message_filter import Saved
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.steps import Step
from tallystick.whatif.stretches import Stretch
from tallystick.whatif.task_statistics import TaskStatistics, Waits


class Span:
    """What of a log was read: from when to when, and its newest record."""

    def __init__(self, store_url: str) -> None:
        self.store = store_url
        self.first_at: dt.datetime | None = None
        self.last_at: dt.datetime | None = None
        self.position = 0
        self.digest = ""

    def take(self, step: Step) -> None:
        """Read on."""
        newest = step.records[-1]
        self.first_at = self.first_at or step.at
        self.last_at = step.at
        self.position, self.digest = newest.position, digest_of(newest.data).hex()

    def as_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "position": self.position,
            "first_at": _time(self.first_at),
            "last_at": _time(self.last_at),
            "digest": self.digest,
        }


class Agent(NamedTuple):
    """One agent in both histories, and what of its use the other policy prevented."""

    id: str
    recorded: AgentHistory
    other: AgentHistory
    saved: Saved


# --- which agents differ ---------------------------------------------------------------------------------------------


def agents_that_differ(rerun: Rerun) -> list[Agent]:
    """The most affected first: by the share of the fleet's use, then by stops, actions and grants."""
    none = AgentHistory()
    found = []
    for id in rerun.recorded.agents.keys() | rerun.other.agents.keys():
        recorded, other = rerun.recorded.agents.get(id, none), rerun.other.agents.get(id, none)
        if _is_different(recorded, other):
            found.append(Agent(id, recorded, other, rerun.message_filter.saved.get(id, Saved())))
    whole = [max(1, units) for units in rerun.recorded.used]
    return sorted(found, key=lambda agent: (*_effect(agent, whole), agent.id))


_COMPARED = ("used", "times", "grants", "granted", "reclaimed", "covered", "warnings", "refused", "waited_ms")


def _is_different(one: AgentHistory, other: AgentHistory) -> bool:
    if any(getattr(one, name) != getattr(other, name) for name in _COMPARED):
        return True
    moments = zip(_moments(one), _moments(other), strict=True)
    return any(not _is_same_moment(*pair) for pair in moments)


def _moments(history: AgentHistory) -> list[dt.datetime | None]:
    return [history.opened_at, history.topped_up_at, history.warned_at, *history.first_at]


def _is_same_moment(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < SAME_MOMENT


def _effect(agent: Agent, whole: list[int]) -> tuple[float, float, float, float]:
    """How much an agent is affected, as negative numbers: the most affected sorts first."""
    one, other = agent.recorded, agent.other
    share = max(abs(one.used[d] - other.used[d]) / whole[d] for d in DIMENSIONS)
    stops = abs(one.times[STOP] - other.times[STOP])
    actions = sum(abs(one.times[action] - other.times[action]) for action in ACTIONS)
    return (-share, -stops, -actions, -abs(one.grants - other.grants))


# --- for machines ----------------------------------------------------------------------------------------------------


def check_json(span: Span, reproduction: Reproduction, first: Mapping[str, Any] | None) -> dict[str, Any]:
    """Whether a log's own policy leads to its own decisions. ``first`` explains the first difference, if there is
    one.
    """
    return {
        "log": span.as_json(),
        "differs": first is not None,
        "messages": reproduction.messages,
        "facts": reproduction.facts,
        "decisions": reproduction.decisions,
        "reworded": reproduction.reworded,
        "rules": rules_json(reproduction.stretches.all),
        "first_difference": first,
    }


def rules_json(stretches: Iterable[Stretch]) -> list[dict[str, Any]]:
    """By which version of the rules each stretch was decided, and whether it was decided again and compared."""
    return [
        {"first": stretch.first, "last": stretch.last, "version": stretch.rules, "compared": stretch.is_ours}
        for stretch in stretches
    ]


def answer_json(
    span: Span, files: Mapping[str, str | None], rerun: Rerun, first: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything that a what-if came to; amounts as every edge shows them."""
    agents = agents_that_differ(rerun)
    question, messages, divergence = rerun.question, rerun.message_filter, rerun.divergence
    return {
        "log": span.as_json(),
        "question": {
            **files,
            "total": {name: None if value is None else str(value) for name, value in question.total.items()},
            "changes": [{"key": key, "log": log, "what_if": other} for key, log, other in changes(rerun)],
            "passed_over": question.passed_over,
        },
        "differs": bool(first or agents),
        "messages": rerun.messages,
        "rules": rules_json(rerun.stretches.all),
        "recorded": _fleet(rerun.recorded),
        "what_if": _fleet(rerun.other),
        "saved": {
            **_saved(messages.saved_in_all),
            "because": {reason: _saved(saved) for reason, saved in messages.saved_by_reason.items() if saved.reports},
        },
        "unknown": sorted(messages.unknown),
        "runs": {"moved": rerun.shifted.shifted, "guessed": rerun.shifted.estimated},
        "specialists_anew_from": divergence and {"position": divergence.position, "at": stamp(divergence.at)},
        "first_difference": first,
        "agents_seen": len(rerun.recorded.agents.keys() | rerun.other.agents.keys()),
        "agents": [
            {
                "agent": agent.id,
                "recorded": _agent(agent.recorded),
                "what_if": _agent(agent.other),
                "saved": _saved(agent.saved),
            }
            for agent in agents
        ],
        "assumptions": list(assumptions(rerun)),
    }


def changes(rerun: Rerun) -> Iterator[tuple[str, str, str]]:
    """The settings that differ from those that the log began with: key, the log's, the other's."""
    question = rerun.question
    log: dict[str, Any] = {}
    other: dict[str, Any] = {}
    if question.log_config is not None and question.config is not None:
        log |= _leaves(to_mapping(question.log_config))
        other |= _leaves(to_mapping(question.config))
    if question.prices is not None:
        before = question.log_prices or PriceList()
        models = before.written.keys() | question.prices.written.keys()
        log |= _prices(before, models)
        other |= _prices(question.prices, models)
    for key in sorted(log.keys() | other.keys()):
        if log.get(key) != other.get(key):
            yield key, _plain(log.get(key)), _plain(other.get(key))


def _prices(prices: PriceList, models: Iterable[str]) -> dict[str, Any]:
    """What models cost by a list, in dollars per million tokens, whether they are written in it or published."""
    found = {model: prices.find(model) for model in models}
    written = PriceList({model: one.price for model, one in found.items() if one is not None})
    return dict(_leaves(prices_to_mapping(written)))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fleet(histories: AgentHistories) -> dict[str, Any]:
    ledger, counts = histories.ledger, histories.tasks.counts
    return {
        **edge(histories.used),
        "agents": {e.ACTIONS[action]: histories.reached(action) for action in ACTIONS[WARN:]},
        "top_ups": {"count": histories.grants, **_some(histories.granted)},
        "plans": histories.plans,
        "refused": dict(sorted(histories.refused.items())),
        "alerts": dict(sorted(histories.alerts.items())),
        "responses": {response: stamp(at) for response, at in histories.responses.items()},
        "response_changes": histories.response_changes,
        "periods_renewed": histories.renewals,
        "largest_overdraft": _some(histories.overdraft),
        "from_reserve": _some(histories.from_reserve),
        "breaker_trips": counts["breaker_tripped"],
        "days_began": counts["days"],
        "tasks": _tasks(histories.tasks),
        "at_the_end": {
            "total": edge(ledger.total),
            "pool": edge(ledger.pool),
            "reserve": edge(ledger.in_reserve),
            "overdraft": edge(ledger.overdraft),
        },
    }


_TASKS = (
    *("submitted", "completed", "failed", "cancelled", "rejected", "preempted", "lease_lost", "overdue"),
    *("running", "waiting"),
)


def _tasks(tasks: TaskStatistics) -> dict[str, Any]:
    """What the tasks came to; shares to 6 places."""
    utilization = tasks.utilization
    return {
        **{what: tasks.counts[what] for what in _TASKS},
        "slot_utilization": None if utilization is None else round(utilization, 6),
        "waits": {
            **_waits(tasks.waits),
            "by_product": {product: _waits(waits) for product, waits in sorted(tasks.by_product.items())},
        },
    }


def _waits(waits: Waits) -> dict[str, Any]:
    average_ms = waits.average_ms
    return {
        "started": waits.started,
        "still_waiting": waits.waiting,
        "average_minutes": None if average_ms is None else shown_minutes(average_ms),
        "longest_minutes": shown_minutes(waits.longest_ms),
    }


def _agent(history: AgentHistory) -> dict[str, Any]:
    return {
        "opened_at": _time(history.opened_at),
        "used": edge(history.used),
        "allocated": edge(history.allocated),
        "actions": {
            e.ACTIONS[action]: {"times": history.times[action], "first_at": _time(history.first_at[action])}
            for action in ACTIONS[WARN:]
            if history.times[action]
        },
        "top_ups": {"count": history.grants, "first_at": _time(history.topped_up_at), **_some(history.granted)},
        "reclaimed": _some(history.reclaimed),
        "covered_by_others": _some(history.covered),
        "warnings": {"count": history.warnings, "first_at": _time(history.warned_at)},
        "refused": history.refused,
        "told_to_wait_seconds": seconds(history.waited_ms),
    }


def _saved(saved: Saved) -> dict[str, Any]:
    return {"reports": saved.reports, **edge(saved.used)}


def _time(at: dt.datetime | None) -> str | None:
    return None if at is None else stamp(at)


def _some(amount: Money) -> dict[str, Any]:
    """Amounts without the dimensions in which there is nothing."""
    return edge((amount[0] or None, amount[1] or None, amount[2] or None))
