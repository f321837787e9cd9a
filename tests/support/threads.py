"""Threads that work at the same time."""

import threading
from typing import Any

from tests.support.stores import SECONDS


def at_once(count: int, work: Any) -> None:
    """``work(n)`` in ``count`` threads that start together."""
    start, failures = threading.Barrier(count), []

    def run(number: int) -> None:
        start.wait(SECONDS)
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert not failures, failures
