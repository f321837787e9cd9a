"""Explains what happens to keys of the HTTP service."""

from tallystick.config.amounts import COST
from tallystick.events import catalog as e
from tallystick.explain.row import Row, Rows, Style, only


def _says_created(event: e.KeyCreated, say: Style) -> str:
    whose = "" if event.agent is None else f", for {event.agent}"
    until = "" if event.expires_at is None else f", until {say.time(event.expires_at)}"
    most = "" if event.approve_up_to_nanos is None else f", approving up to {only(COST, event.approve_up_to_nanos)}"
    return f"the key {event.key} was created: role {event.role}{whose}{until}{most}"


ROWS: Rows = {
    e.KeyCreated: Row(_says_created),
    e.KeyRevoked: Row(lambda x, say: f"the key {x.key} was revoked: {x.reason or 'no reason given'}"),
    e.KeyMisused: Row(
        lambda x, say: f"the key {x.key} was shown after it {'had expired' if x.why == 'expired' else 'was revoked'}",
        "it was refused; that is recorded at most once an hour for each key",
    ),
}
