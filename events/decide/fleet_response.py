"""The fleet's response to pressure, with its hysteresis: decided in the transaction that causes it."""

from fractions import Fraction

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.turn import Turn
from tallystick.events.state.ledger import Ledger


def pressure(ledger: Ledger) -> tuple[Fraction, int]:
    """The largest, over limited dimensions, of (spent + held) / (total - reserve), and the dimension (spec 2)."""
    most, dimension = Fraction(0), 0
    for d in DIMENSIONS:
        if ledger.root.allocated[d] is not None:
            ratio = _ratio(ledger.committed(d), ledger.spendable(d))
            if ratio > most:
                most, dimension = ratio, d
    return most, dimension


def _ratio(part: int, whole: int) -> Fraction:
    if whole > 0:
        return Fraction(part, whole)
    return Fraction(1 if part > 0 else 0)


def respond(turn: Turn) -> None:
    """Record the fleet's response to the pressure there is now, with hysteresis on the way down."""
    ledger = turn.ledger
    spent, held, line = ledger.spent, ledger.held, ledger.response_lines
    # Every use passes here; below the first line there is nothing to compute.
    if not ledger.response and (
        spent[0] + held[0] < line[0] and spent[1] + held[1] < line[1] and spent[2] + held[2] < line[2]
    ):
        return
    response = response_now(ledger)
    if response == ledger.response:
        return
    highest, d = pressure(ledger)
    before = ledger.response
    turn.record(
        e.FleetResponseChanged(
            before=e.RESPONSES[before],
            response=e.RESPONSES[response],
            pressure=round(float(highest), 6),
            dimension=EDGE_NAMES[d],
        )
    )
    if response > before:
        message = f"{EDGE_NAMES[d]}: {int(highest * 100)} % of what the fleet can spend is used or held"
        alert(turn, f"fleet_{e.RESPONSES[response]}", message)


def response_now(ledger: Ledger) -> int:
    """The response that pressure calls for; a response is left only ``hysteresis`` below the line that it began at."""
    up, down = 0, 0
    slack = ledger.rules.fleet_hysteresis
    for d in DIMENSIONS:
        total = ledger.root.allocated[d]
        if total is None:
            continue
        committed = ledger.committed(d)
        of_spendable = _ratio(committed, ledger.spendable(d))
        of_total = _ratio(committed, total - ledger.opening[d])
        for rank, at in enumerate((*ledger.rules.fleet_at, Fraction(1)), start=1):
            ratio = of_total if rank == 4 else of_spendable
            if ratio >= at:
                up = max(up, rank)
            if ratio >= at - slack and ratio > 0:
                down = max(down, rank)
    return max(up, min(ledger.response, down))
