"""An actor's inbox: the C queue of the standard library, which costs a fraction of the default one's locks."""

import queue


class Inbox(queue.SimpleQueue):  # type: ignore[type-arg]
    """What pykka asks of an inbox is what `queue.SimpleQueue` has."""
