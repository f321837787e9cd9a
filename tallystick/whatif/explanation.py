"""Why two histories part: the first decision that differs, with the rule and its numbers on both sides."""

from typing import Any

import msgspec

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.fleet_response import pressure
from tallystick.events.decide.levels import percentage
from tallystick.events.decide.turn import CLOCK
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.explain.enforcement import THRESHOLDS
from tallystick.explain.history import History
from tallystick.explain.row import unit
from tallystick.explain.rows import sentence, why
from tallystick.whatif.divergence import SAME_MOMENT, Difference, Told
from tallystick.whatif.reproduction import Unlike
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.shadow_specialists import TimePasses
from tallystick.whatif.steps import Step
from tallystick.wording import amounts, exact_percent, shown_time

Side = dict[str, Any]
"""What one side decided: a sentence (``text``), and the rule with its numbers (``why``)."""


def explain_difference(rerun: Rerun, history: History) -> dict[str, Any]:
    """The first decision that differs; asked at the step that brought it, while both states are just behind it."""
    found = rerun.difference
    assert found is not None
    if found.recorded is None and found.made is None:
        sides = _told(found.told_in_log), _told(found.told)
    else:
        said = _proposed(rerun, found)
        sides = (
            _side(found.recorded, found.made, rerun.log, history, said[0]),
            _side(found.made, found.recorded, rerun.other, History(), said[1]),
        )
    if found.request:
        asked = f"{found.request} of {found.by}"
    else:
        asked = "its time had come" if found.by == CLOCK else f"proposed by the {found.by}"
    return {
        "difference": f"position {found.position:,}, {shown_time(found.at)}: {asked}",
        "position": found.position,
        "at": stamp(found.at),
        "request": found.request or None,
        "by": found.by or None,
        "recorded": sides[0],
        "what_if": sides[1],
    }


def _side(event: e.Event | None, other: e.Event | None, ledger: Ledger, history: History, proposed: str) -> Side:
    """What one side decided, or what holds there where it decided nothing, and the other side did."""
    if event is not None:
        return {"text": sentence(event), "why": [*why(event, ledger, history), *_not_reached(event, other, ledger)]}
    match other:
        case e.LevelChanged() if other.agent in ledger.accounts:
            stays = _level_of(other.agent, ledger)
            text = (
                f"{stays.agent} stays {stays.level} at {exact_percent(stays.percentage)} of its {unit(stays.dimension)}"
            )
            return {"text": text, "why": why(stays, ledger, history)}
        case e.FleetResponseChanged():
            response = _response_of(other.response, ledger)
            text = f"the fleet's response stays {response.before} at a pressure of {exact_percent(response.pressure)}"
            return {"text": text, "why": why(response, ledger, history)}
    return {"text": proposed or "nothing of the kind was decided", "why": []}


def _not_reached(event: e.Event, other: e.Event | None, ledger: Ledger) -> list[str]:
    """Where the level begins here that the other side came to, if it is not the next one, which is told anyway."""
    if not isinstance(event, e.LevelChanged) or not isinstance(other, e.LevelChanged):
        return []
    rank = e.LEVELS.index(other.level)
    if rank <= e.LEVELS.index(event.level) + 1:
        return []
    at = exact_percent(float(ledger.rules.level_at[rank - 1]))
    return [f"{other.level} would begin at {at} (enforcement.{THRESHOLDS[rank - 1]})"]


def _level_of(agent: str, ledger: Ledger) -> e.LevelChanged:
    """The level at which an agent stays, in the words of one that changes."""
    account = ledger.accounts[agent]
    ratios = {
        d: account.consumed(d) / base if (base := account.base(d)) > 0 else 0.0
        for d in DIMENSIONS
        if account.allocated[d] is not None
    }
    most = max(ratios, key=lambda d: ratios[d], default=0)
    level = e.LEVELS[account.level]
    return e.LevelChanged(
        agent=agent, before=level, level=level, percentage=percentage(account), dimension=EDGE_NAMES[most]
    )


def _response_of(response: str, ledger: Ledger) -> e.FleetResponseChanged:
    """The response that stays; its rule is shown beside that of the other side's."""
    pressed, d = pressure(ledger)
    stays = e.RESPONSES[ledger.response]
    return e.FleetResponseChanged(
        before=stays, response=response, pressure=round(float(pressed), 6), dimension=EDGE_NAMES[d]
    )


_FOR_THE_RECORD = (p.RecordForecast, p.RecordScore, p.RecordRun, p.RecordAnomaly, TimePasses)
"""What was foretold and learnt asks for nothing."""


def _proposed(rerun: Rerun, found: Difference) -> tuple[str, str]:
    """What the specialists said on either side, if it is about this that they parted."""
    parting = rerun.parting
    if parting is None or found.request or abs(parting.at - found.at) >= SAME_MOMENT:
        return "", ""
    theirs, ours = (
        " and ".join(_proposal(one) for one in said if not isinstance(one, _FOR_THE_RECORD)) or "nothing"
        for said in (parting.recorded, parting.made)
    )
    return (
        f"by the log's settings the specialists would have proposed {theirs} at this moment",
        f"the specialists propose {ours}",
    )


def _proposal(command: c.Command) -> str:
    if isinstance(command, p.ApplyMoves):
        moves = ", ".join(f"{amounts(m.amount.triple)} from {m.source} to {m.target}" for m in command.moves)
        return f"a plan ({moves or 'without a move'})"
    agent = getattr(command, "agent", None)
    return type(command).__name__ if agent is None else f"{type(command).__name__} of {agent}"


def _told(told: Told | None) -> Side:
    assert told is not None, "both sides answered"
    text = f"{told.agent} was told to {told.action}"
    if told.throttle_rate < 1:
        text += f" at {told.throttle_rate:g} of normal speed"
    if told.wait_seconds:
        text += f", to wait {told.wait_seconds:g} s"
    if told.model is not None:
        text += f", and to use {told.model}"
    return {"text": f"{text} (by {told.decided_by})", "why": []}


def _fields(event: e.Event | None) -> str:
    return msgspec.json.encode(event).decode()


def explain_unlike(unlike: Unlike, step: Step) -> dict[str, Any]:
    """The first record that was not made again."""
    texts = ["nothing" if event is None else sentence(event) for event in (unlike.recorded, unlike.made)]
    if texts[0] == texts[1]:
        texts = [_fields(unlike.recorded), _fields(unlike.made)]
    if texts[0] == texts[1]:
        texts = [f"answered {answer.decode()}" for answer in (unlike.answered, unlike.answer)]
    asked = type(step.command).__name__ if step.own else "time passed"
    return {
        "difference": f"position {unlike.position:,}, {shown_time(step.at)}: {asked} was not decided again as recorded",
        "position": unlike.position,
        "at": stamp(step.at),
        "request": asked if step.own else None,
        "by": step.by or None,
        "recorded": {"text": texts[0], "why": []},
        "what_if": {"text": texts[1], "why": []},
    }
