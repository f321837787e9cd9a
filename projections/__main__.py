"""Keeps a fleet's views up to its log, in a process of its own: ``python -m tallystick.projections URL``.

It stops, with what it was writing written, at SIGTERM or SIGINT, and when the store is gone.
"""

import signal
import sys
import threading

from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store import StoreError
from tallystick.projections.store.runner import follow


def main() -> int:
    """Exit 0 after a signal or when the store is gone, 1 when it could not go on, 2 when called in a wrong way."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m tallystick.projections URL, e.g. sqlite:///tallystick.db\n")
        return 2
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        follow(sys.argv[1], stopping)
    except (BrokenChain, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
