"""Why two histories differ: the first decision that does, with the rule and its numbers on both sides."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.fleet_response import pressure
from tallystick.events.decide.own_limits import percentage
from tallystick.events.decide.turn import CLOCK
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.explain.enforcement import THRESHOLDS
from tallystick.explain.history import History
from tallystick.explain.row import unit
from tallystick.explain.rows import sentence, why
from tallystick.whatif.comparison import SAME_MOMENT, Difference, Instruction
from tallystick.whatif.mismatch import Mismatch
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.shadow_specialists import TimePasses
from tallystick.whatif.steps import Step
from tallystick.wording import amounts, exact_percent, shown_time

Side = dict[str, Any]
"""What one side decided: a sentence (``text``), and the rule with its numbers (``why``)."""


def explain_difference(rerun: Rerun, history: History) -> dict[str, Any]:
    """The first decision that differs. It must be asked for right after the step that brought it, while both states are
    just behind it.
    """
    found = rerun.difference
    assert found is not None
    request = found.answered.request
    if found.recorded is None and found.other is None:
        recorded, other = _instructed(found.answered.recorded), _instructed(found.answered.other)
    else:
        proposed = _proposed(rerun, found)
        recorded = _side(found.recorded, found.other, rerun.recorded.ledger, history, proposed[0])
        other = _side(found.other, found.recorded, rerun.other.ledger, History(), proposed[1])
    if request:
        cause = f"{request} of {found.by}"
    else:
        cause = "its time had come" if found.by == CLOCK else f"proposed by the {found.by}"
    return {
        "difference": f"position {found.position:,}, {shown_time(found.at)}: {cause}",
        "position": found.position,
        "at": stamp(found.at),
        "request": request or None,
        "by": found.by or None,
        "recorded": recorded,
        "what_if": other,
    }


def explain_mismatch(mismatch: Mismatch, step: Step) -> dict[str, Any]:
    """The first record that was not reproduced."""
    events = (mismatch.recorded, mismatch.new)
    texts = ["nothing" if event is None else sentence(event) for event in events]
    if texts[0] == texts[1]:
        texts = [msgspec.json.encode(event).decode() for event in events]
    if texts[0] == texts[1]:
        texts = [f"answered {reply.decode()}" for reply in (mismatch.recorded_reply, mismatch.new_reply)]
    request = type(step.command).__name__ if step.own else "time passed"
    return {
        "difference": (
            f"position {mismatch.position:,}, {shown_time(step.at)}: {request} was not decided again as recorded"
        ),
        "position": mismatch.position,
        "at": stamp(step.at),
        "request": request if step.own else None,
        "by": step.by or None,
        "recorded": {"text": texts[0], "why": []},
        "what_if": {"text": texts[1], "why": []},
    }


def _side(event: e.Event | None, other: e.Event | None, ledger: Ledger, history: History, proposed: str) -> Side:
    """What one side decided; where it decided nothing and the other did, what stays in force there."""
    if event is not None:
        return {"text": sentence(event), "why": [*why(event, ledger, history), *_not_reached(event, other, ledger)]}
    stays: e.Event
    match other:
        case e.LevelChanged() if other.agent in ledger.accounts:
            stays = _unchanged_level(other.agent, ledger)
            share = f"{exact_percent(stays.percentage)} of its {unit(stays.dimension)}"
            return {"text": f"{stays.agent} stays {stays.level} at {share}", "why": why(stays, ledger, history)}
        case e.FleetResponseChanged():
            stays = _unchanged_response(other.response, ledger)
            text = f"the fleet's response stays {stays.before} at a pressure of {exact_percent(stays.pressure)}"
            return {"text": text, "why": why(stays, ledger, history)}
    return {"text": proposed or "nothing of the kind was decided", "why": []}


def _not_reached(event: e.Event, other: e.Event | None, ledger: Ledger) -> list[str]:
    """Where the level begins that only the other side reached, if it is not the next one, which `why` names anyway."""
    if not isinstance(event, e.LevelChanged) or not isinstance(other, e.LevelChanged):
        return []
    rank = e.LEVELS.index(other.level)
    if rank <= e.LEVELS.index(event.level) + 1:
        return []
    at = exact_percent(float(ledger.rules.level_at[rank - 1]))
    return [f"{other.level} would begin at {at} (enforcement.{THRESHOLDS[rank - 1]})"]


def _unchanged_level(agent: str, ledger: Ledger) -> e.LevelChanged:
    """The level at which an agent stays, as an event."""
    account = ledger.accounts[agent]
    ratios = {
        d: account.consumed(d) / base if (base := account.base(d)) > 0 else 0.0
        for d in DIMENSIONS
        if account.allocated[d] is not None
    }
    most = max(ratios, key=lambda d: ratios[d], default=0)
    level = e.LEVELS[account.level]
    return e.LevelChanged(
        agent=agent, before=level, level=level, percentage=percentage(ledger, account), dimension=EDGE_NAMES[most]
    )


def _unchanged_response(response: str, ledger: Ledger) -> e.FleetResponseChanged:
    """The response that stays, as an event that names the rule of the other side's ``response``."""
    ratio, d = pressure(ledger)
    stays = e.RESPONSES[ledger.response]
    return e.FleetResponseChanged(
        before=stays, response=response, pressure=round(float(ratio), 6), dimension=EDGE_NAMES[d]
    )


_FOR_THE_RECORD = (p.RecordForecast, p.RecordScore, p.RecordRun, p.RecordAnomaly, TimePasses)
"""Forecasts and what was learnt ask for nothing."""


def _proposed(rerun: Rerun, found: Difference) -> tuple[str, str]:
    """What the specialists proposed in both histories, if that is where they diverged."""
    divergence = rerun.divergence
    if divergence is None or found.answered.request or abs(divergence.at - found.at) >= SAME_MOMENT:
        return "", ""
    return (
        f"by the log's settings the specialists would have proposed {_proposals(divergence.recorded)} at this moment",
        f"the specialists propose {_proposals(divergence.other)}",
    )


def _proposals(commands: Sequence[c.Command]) -> str:
    return " and ".join(_proposal(one) for one in commands if not isinstance(one, _FOR_THE_RECORD)) or "nothing"


def _proposal(command: c.Command) -> str:
    if isinstance(command, p.ApplyMoves):
        moves = ", ".join(f"{amounts(m.amount.triple)} from {m.source} to {m.target}" for m in command.moves)
        return f"a plan ({moves or 'without a move'})"
    agent = getattr(command, "agent", None)
    return type(command).__name__ if agent is None else f"{type(command).__name__} of {agent}"


def _instructed(instruction: Instruction | None) -> Side:
    assert instruction is not None, "both sides answered"
    text = f"{instruction.agent} was instructed to {instruction.action}"
    if instruction.throttle_rate < 1:
        text += f" at {instruction.throttle_rate:g} of normal speed"
    if instruction.wait_seconds:
        text += f", to wait {instruction.wait_seconds:g} s"
    if instruction.model is not None:
        text += f", and to use {instruction.model}"
    return {"text": f"{text} (by {instruction.decided_by})", "why": []}
