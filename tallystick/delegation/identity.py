"""What tells one fleet from another, wherever its log is kept."""

from tallystick.events.log.codec import digest_of
from tallystick.events.log.store import Store


def identity(store: Store) -> str:
    """The id of a fleet: the digest of its first record, 32 hex digits. An old copy of its log has the same."""
    first = next(iter(store.read(0, 1)))
    return digest_of(first.data).hex()[:32]
