"""What a what-if comes to: the two histories side by side, who differs, and all that had to be assumed."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tallystick.config.amounts import DIMENSIONS, Triple, edge, seconds
from tallystick.config.loader import to_mapping
from tallystick.config.prices import PriceList
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.events import catalog as e
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.levels import STOP, WARN
from tallystick.events.log.codec import digest_of
from tallystick.events.messages.task_replies import shown_minutes
from tallystick.events.state.accounts import Money, minus
from tallystick.whatif.agent_histories import ACTIONS, AgentHistories, AgentHistory
from tallystick.whatif.divergence import SAME_MOMENT
from tallystick.whatif.message_filter import MessageFilter, Saved
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.steps import Step
from tallystick.whatif.task_statistics import Waits, Work
from tallystick.wording import counted, shown_time


class Span:
    """What of a log was read: from where to where, and its newest record."""

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
            "first_at": _moment(self.first_at),
            "last_at": _moment(self.last_at),
            "digest": self.digest,
        }


class Agent(NamedTuple):
    """One agent in both histories, and what of its use the other policy prevented."""

    id: str
    recorded: AgentHistory
    made: AgentHistory
    saved: Saved


# --- who differs -----------------------------------------------------------------------------------------------------


def agents_that_differ(rerun: Rerun) -> list[Agent]:
    """Those that fared otherwise, the most affected first: by the share of the fleet's use, then by stops and grants."""
    nobody, nothing = AgentHistory(), Saved()
    found = []
    for id in rerun.recorded.agents.keys() | rerun.made.agents.keys():
        agent = Agent(
            id,
            rerun.recorded.agents.get(id, nobody),
            rerun.made.agents.get(id, nobody),
            rerun.fates.saved.get(id, nothing),
        )
        if _fared_otherwise(agent):
            found.append(agent)
    whole = [max(1, units) for units in rerun.recorded.used]
    return sorted(found, key=lambda agent: (*_less_affected(agent, whole), agent.id))


def _fared_otherwise(agent: Agent) -> bool:
    one, other = agent.recorded, agent.made
    if any(
        getattr(one, name) != getattr(other, name)
        for name in ("used", "times", "grants", "granted", "reclaimed", "covered", "warnings", "refused", "waited_ms")
    ):
        return True
    moments = zip(_moments(one), _moments(other), strict=True)
    return any(not _is_same_moment(theirs, ours) for theirs, ours in moments)


def _moments(course: AgentHistory) -> list[dt.datetime | None]:
    return [course.opened_at, course.topped_up_at, course.warned_at, *course.first_at]


def _is_same_moment(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < SAME_MOMENT


def _less_affected(agent: Agent, whole: list[int]) -> tuple[float, float, float, float]:
    one, other = agent.recorded, agent.made
    share = max(abs(one.used[d] - other.used[d]) / whole[d] for d in DIMENSIONS)
    stops = abs(one.times[STOP] - other.times[STOP])
    actions = sum(abs(one.times[action] - other.times[action]) for action in ACTIONS)
    return (-share, -stops, -actions, -abs(one.grants - other.grants))


# --- for machines ----------------------------------------------------------------------------------------------------


def as_check(span: Span, reproduction: Reproduction, why: Mapping[str, Any] | None) -> dict[str, Any]:
    """The proof that a log's own policy leads to its own decisions, or what refutes it."""
    return {
        "log": span.as_json(),
        "differs": why is not None,
        "messages": reproduction.messages,
        "facts": reproduction.facts,
        "decisions": reproduction.decisions,
        "first_difference": why,
    }


def as_answer(
    span: Span, files: Mapping[str, str | None], rerun: Rerun, first: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything that a what-if came to, in plain values; amounts as every edge shows them."""
    agents = agents_that_differ(rerun)
    fates, parting = rerun.fates, rerun.parting
    return {
        "log": span.as_json(),
        "question": {
            **files,
            "total": {name: None if value is None else str(value) for name, value in rerun.question.total.items()},
            "changes": [{"key": key, "log": log, "what_if": other} for key, log, other in changes(rerun)],
            "passed_over": rerun.question.passed_over,
        },
        "differs": bool(first or agents),
        "messages": rerun.messages,
        "recorded": _fleet(rerun.recorded),
        "what_if": _fleet(rerun.made),
        "saved": {
            "reports": sum(saved.reports for saved in fates.saved.values()),
            **_used(total_saved(fates)),
            "because": {
                reason: {"reports": saved.reports, **_used(saved.used)}
                for reason, saved in fates.saved_by_reason.items()
                if saved.reports
            },
        },
        "unknown": sorted(fates.unknown),
        "runs": {"moved": rerun.moving.moved, "guessed": rerun.moving.guessed},
        "specialists_anew_from": None if parting is None else {"position": parting.position, "at": stamp(parting.at)},
        "first_difference": first,
        "agents_seen": len(rerun.recorded.agents.keys() | rerun.made.agents.keys()),
        "agents": [
            {
                "agent": agent.id,
                "recorded": _course(agent.recorded),
                "what_if": _course(agent.made),
                "saved": {"reports": agent.saved.reports, **_used(agent.saved.used)},
            }
            for agent in agents
        ],
        "assumptions": list(assumptions(rerun)),
    }


def total_saved(fates: MessageFilter) -> Money:
    """What the other policy would have prevented, in all."""
    used = [sum(saved.used[d] for saved in fates.saved.values()) for d in DIMENSIONS]
    return (used[0], used[1], used[2])


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
    """What models cost by a list, in dollars per million tokens, whether they were written in it or published."""
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


def _fleet(courses: AgentHistories) -> dict[str, Any]:
    ledger = courses.ledger
    return {
        **_used((courses.used[0], courses.used[1], courses.used[2])),
        "agents": {e.ACTIONS[action]: courses.reached(action) for action in ACTIONS[WARN:]},
        "top_ups": {"count": courses.grants, **edge(_some(courses.granted))},
        "plans": courses.plans,
        "refused": dict(sorted(courses.refused.items())),
        "alerts": dict(sorted(courses.alerts.items())),
        "responses": {response: stamp(at) for response, at in courses.responses.items()},
        "response_changes": courses.response_changes,
        "periods_renewed": courses.renewals,
        "largest_overdraft": edge(_some((courses.overdraft[0], courses.overdraft[1], courses.overdraft[2]))),
        "from_reserve": edge(_some(courses.from_reserve)),
        "breaker_trips": courses.work.counts["breaker_tripped"],
        "days_began": courses.work.counts["days"],
        "tasks": _tasks(courses.work),
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


def _tasks(work: Work) -> dict[str, Any]:
    """What became of the tasks; shares to 6 places."""
    utilization = work.utilization
    return {
        **{what: work.counts[what] for what in _TASKS},
        "slot_utilization": None if utilization is None else round(utilization, 6),
        "waits": {
            **_waits(work.waits),
            "by_product": {product: _waits(waits) for product, waits in sorted(work.by_product.items())},
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


def _course(course: AgentHistory) -> dict[str, Any]:
    return {
        "opened_at": _moment(course.opened_at),
        "used": _used((course.used[0], course.used[1], course.used[2])),
        "allocated": edge(course.allocated),
        "actions": {
            e.ACTIONS[action]: {"times": course.times[action], "first_at": _moment(course.first_at[action])}
            for action in ACTIONS[WARN:]
            if course.times[action]
        },
        "top_ups": {"count": course.grants, "first_at": _moment(course.topped_up_at), **edge(_some(course.granted))},
        "reclaimed": edge(_some(course.reclaimed)),
        "covered_by_others": edge(_some(course.covered)),
        "warnings": {"count": course.warnings, "first_at": _moment(course.warned_at)},
        "refused": course.refused,
        "told_to_wait_seconds": seconds(course.waited_ms),
    }


def _moment(at: dt.datetime | None) -> str | None:
    return None if at is None else stamp(at)


def _used(used: Money) -> dict[str, Any]:
    return edge(used)


def _some(amount: Money) -> Triple:
    """Amounts without the dimensions in which there is nothing."""
    return (amount[0] or None, amount[1] or None, amount[2] or None)


# --- what was assumed ------------------------------------------------------------------------------------------------


def assumptions(rerun: Rerun) -> Iterator[str]:
    """Every assumption that the answer rests on, a sentence or two each."""
    question, fates, parting = rerun.question, rerun.fates, rerun.parting
    yield "What was sent to the fleet is kept as it was sent, when it was sent; but for what follows, nobody behaves in another way."
    yield (
        "An agent that the other policy has stopped, and the log had not, begins nothing until it may go on: what it reported"
        " then is counted as saved at its recorded cost, also what was under way when it was stopped."
        " A hold that it had been granted is settled as recorded."
    )
    yield (
        "An agent that gets no account uses nothing, and an operation whose hold is refused for want of budget is not begun:"
        " that is counted as saved, too."
    )
    yield from _of_runs(rerun)
    if rerun.made.work.counts["breaker_tripped"] > rerun.recorded.work.counts["breaker_tripped"]:
        yield "A breaker that trips only here is reset by nobody: it is open until the next day, or until the log's next order."
    yield "A throttle moves no report in time: who is told to wait longer, or not at all, reports when it did."
    if question.prices is not None:
        yield "Usage that named a model and no cost is priced anew; a cost that was reported stays as it is."
    if fates.unknown:
        yield (
            f"What {counted(len(fates.unknown), 'agent')} would have used beyond the log is unknown, and counts as nothing: the other"
            " policy lets go on what the log had refused or stopped. What was refused in the log and is granted here is"
            " granted once, however often it was asked for; a hold that nobody would settle is given back at once."
        )
    if any(minus(fates.added, fates.again)):
        yield "Settlements that the log refused, and the other policy records, are counted as used."
    if any(fates.again):
        yield (
            "What runs of tasks use that begin once more, go on where the log cut them short, or never ran there, is counted"
            " as used beyond the log."
        )
    if parting is None:
        yield "The specialists had no reason to propose anything else: what they proposed in the log was decided anew."
    else:
        yield (
            f"Up to position {parting.position:,} ({shown_time(parting.at)}) the specialists had no reason to propose"
            " anything else, and what they proposed in the log was decided anew. From there on they judge anew, under a clock"
            " that is never late, in a fleet that is never closed."
        )
    yield "Moments that differ by less than a second are counted as the same."
    for what, count in question.passed_over.items():
        if count:
            many = what.replace("_", " ")
            told = (
                f"{count:,} later {many} of the log change" if count > 1 else f"A later {many[:-1]} of the log changes"
            )
            yield f"{told} nothing here."


def _of_runs(rerun: Rerun) -> Iterator[str]:
    """What is assumed of the runs of tasks."""
    if not rerun.recorded.work.counts["submitted"]:
        return
    yield (
        "A run of a task that starts at another time than in the log takes its messages with it: they follow its start by the"
        " same delays, with the lease that it has here. What was submitted, cancelled or ordered from outside stays where it was."
    )
    yield (
        "A run that only the log cut short goes on like the first later run of that task that ended by itself. One that is cut"
        " short here sends its next message, learns of it, and stops; its next run begins anew. Who was lost stays lost."
        " The answer ends where the log ends."
    )
    if rerun.moving.guessed:
        count = rerun.moving.guessed
        yield (
            f"{counted(count, 'run')} of tasks that the log never ran are taken to use what was estimated, and"
            " to last as long; where no time was estimated, as long as a run of the log on average."
        )
