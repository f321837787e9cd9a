"""The closing proof: every token and nano-dollar that the agents reported is where the log says it is."""

import msgspec

from tallystick.events import catalog as e
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import Store
from tallystick.events.state.conservation import BrokenInvariant, check_conserved
from tallystick.events.state.money import ZERO, Money, plus


class Proof(msgspec.Struct, frozen=True):
    """Three sums that must be equal (tokens, milliseconds, nano-dollars), and what the replay of the log said.

    ``priced`` is what the fleet priced itself, where a report gave no cost: it is in the other sums, not in
    ``reported``. ``problem`` is None where everything is accounted for.
    """

    reported: Money
    priced: Money
    recorded: Money
    ledger: Money
    position: int
    digest: str
    problem: str | None


def prove(store: Store, reported: Money) -> Proof:
    """Read the log again from the first event: each link of the chain, each sum, conservation at the end."""
    replay = Replay()
    recorded = priced = ZERO
    problem = None
    try:
        for record in store.read():
            event = replay.prove(record)
            replay.apply(event)
            if isinstance(event, e.UsageReported | e.HoldSettled):
                recorded = plus(recorded, (event.tokens, event.time_ms, event.cost_nanos))
                if isinstance(event, e.UsageReported) and event.priced_as is not None:
                    priced = plus(priced, (0, 0, event.cost_nanos))
        check_conserved(replay.ledger)
    except (BrokenChain, BrokenInvariant) as error:
        problem = str(error)
    spent = replay.ledger.spent
    ledger = (spent[0], spent[1], spent[2])
    if problem is None and not plus(reported, priced) == recorded == ledger:
        problem = f"the sums differ: {plus(reported, priced)} reported, {recorded} recorded, {ledger} in the ledger"
    return Proof(reported, priced, recorded, ledger, replay.ledger.position, replay.digest.hex(), problem)
