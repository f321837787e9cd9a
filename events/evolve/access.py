"""How events about keys change which are valid."""

from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger


def create_key(ledger: Ledger, event: e.KeyCreated) -> None:
    """A key is valid from here on."""
    ledger.keys.create(event)


def revoke_key(ledger: Ledger, event: e.KeyRevoked) -> None:
    """A key is not valid any more."""
    ledger.keys.revoke(event.key, event.at)


def note_misuse(ledger: Ledger, event: e.KeyMisused) -> None:
    """A key was shown that is not valid."""
    ledger.keys.note_misuse(event.key, event.at)
